//! YAML files of others, read within limits.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use stepwell_engine::ParamValue;

use crate::error::{Error, Result};

/// Largest file.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;
/// Most values, those that aliases repeat among them.
const NODES_MAX: usize = 1_000_000;

/// Tags of YAML's core schema. A text with one is taken as text.
const CORE_TAGS: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];

/// A value with the line it begins at.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: usize,
    pub kind: Kind,
    /// Values in it, itself among them.
    size: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// As written; only a plain one can be a number.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Whether it is nothing at all: `~`, `null` or an empty value.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, is_plain: true } if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }

    /// The value as a parameter; lists and maps as JSON.
    pub fn to_param(&self) -> ParamValue {
        match &self.kind {
            Kind::Scalar { text, is_plain: true } => plain(text),
            Kind::Scalar { text, .. } => ParamValue::Text(text.clone()),
            _ => ParamValue::Text(self.to_json().to_string()),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Kind::Scalar { .. } => match self.to_param() {
                ParamValue::Bool(value) => value.into(),
                ParamValue::Int(value) => value.into(),
                ParamValue::Float(value) if value.is_finite() => value.into(),
                other => other.to_display().into(),
            },
            Kind::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(name, node)| (name.clone(), node.to_json())).collect())
            }
        }
    }
}

/// What a plain scalar is in YAML 1.2. Integers beyond 64 bits stay text.
fn plain(text: &str) -> ParamValue {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match text {
        "true" | "True" | "TRUE" => return ParamValue::Bool(true),
        "false" | "False" | "FALSE" => return ParamValue::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return ParamValue::Float(f64::NAN),
        _ => {}
    }
    if [".inf", ".Inf", ".INF"].contains(&digits) {
        return ParamValue::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_float = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if is_integer {
        text.parse().map_or_else(|_| ParamValue::Text(text.to_owned()), ParamValue::Int)
    } else if is_float {
        text.parse().map_or_else(|_| ParamValue::Text(text.to_owned()), ParamValue::Float)
    } else {
        ParamValue::Text(text.to_owned())
    }
}

/// Reads a file with one document.
///
/// # Errors
/// [`Error::Yaml`] with the line, [`Error::Io`].
pub(super) fn read(path: &Path) -> Result<Node> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    let whole = |fault: String| Error::Yaml { path: path.to_owned(), line: 0, fault };
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(whole(format!("it is no file of at most {FILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_| whole("it is not UTF-8".to_owned()))?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Node> {
    let failed = |line: usize, fault: String| Error::Yaml { path: path.to_owned(), line, fault };
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        let (event, span) = item.map_err(|error| failed(error.marker().line(), error.to_string()))?;
        builder.take(event, &span).map_err(|fault| failed(span.start.line(), fault))?;
    }
    builder.root.ok_or_else(|| failed(0, "it is empty".to_owned()))
}

/// A list or map that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a map, the key whose value comes next.
    key: Option<String>,
    keys: BTreeSet<String>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err("it holds more than one document".to_owned()),
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref())?;
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                self.add(Node { line, kind: Kind::Scalar { text: text.into_owned(), is_plain }, size: 1 }, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias names what is not closed yet")?;
                self.add(node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.open(Node { line, kind: Kind::List(Vec::new()), size: 1 }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.open(Node { line, kind: Kind::Map(Vec::new()), size: 1 }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => {
                    // Its values were counted one by one.
                    self.nodes -= open.node.size;
                    self.add(open.node, open.anchor)
                }
                None => Err("something is closed that was not opened".to_owned()),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
        }
        self.nodes += 1;
        self.stack.push(Open { node, anchor, key: None, keys: BTreeSet::new() });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += node.size;
        if self.nodes > NODES_MAX {
            return Err(format!("it has more than {NODES_MAX} values, those counted that aliases repeat"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let size = node.size;
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(nodes), _) => nodes.push(node),
            (Kind::Map(entries), Some(key)) => entries.push((key, node)),
            (Kind::Map(_), None) => match node.kind {
                Kind::Scalar { text, .. } if open.keys.insert(text.clone()) => open.key = Some(text),
                Kind::Scalar { text, .. } => return Err(format!("the key {text:?} is there twice")),
                _ => return Err("a key is no text".to_owned()),
            },
            (Kind::Scalar { .. }, _) => return Err("a text holds other values".to_owned()),
        }
        open.node.size += size;
        Ok(())
    }
}

fn check_tag(tag: Option<&saphyr_parser::Tag>) -> Result<(), String> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && CORE_TAGS.contains(&tag.suffix.as_str())) => {
            Err(format!("the tag {tag} is not read"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(text, Path::new("x")).expect_err("refused").to_string()
    }

    #[test]
    fn values_have_their_types() {
        let text = "a: 1\nb: 0.5\nc: true\nd: text\ne: '1'\nf: [1, x]\ng: {h: ~}\ni: 1e-3\nj: 99999999999999999999\nk: -.inf\n";
        let node = parse(text, Path::new("x")).expect("read");
        let param = |key: &str| node.get(key).expect(key).to_param();
        assert_eq!((param("a"), param("b")), (ParamValue::Int(1), ParamValue::Float(0.5)));
        assert_eq!((param("c"), param("d"), param("e")), (true.into(), "text".into(), "1".into()));
        assert_eq!((param("f"), param("g")), ("[1,\"x\"]".into(), "{\"h\":null}".into()));
        assert_eq!((param("i"), param("j")), (ParamValue::Float(1e-3), "99999999999999999999".into()));
        assert_eq!(param("k"), ParamValue::Float(f64::NEG_INFINITY));
        assert_eq!(node.get("f").expect("f").line, 6);
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_before_it_grows() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(fault(&text).contains("more than 1000000 values"), "{}", fault(&text));
        assert!(fault("a: &a [*a]").contains("not closed yet"));
    }

    #[test]
    fn deep_nesting_tags_double_keys_and_second_documents_are_refused() {
        // The parser has a limit of its own for brackets.
        assert!(fault(&"[".repeat(100_000)).contains("line 1:"));
        assert!(fault(&format!("{}{}", "[".repeat(100), "]".repeat(100))).contains("nested deeper"));
        assert!(fault(&format!("{}x", "- ".repeat(1_000))).contains("nested deeper"));
        assert!(fault("a: !!python/object:os.system x").contains("tag"));
        assert!(fault("a: 1\na: 2\n").contains("twice"));
        assert!(fault("[a]: 1\n").contains("a key is no text"));
        assert!(fault("a: 1\n---\nb: 2\n").contains("more than one document"));
        assert!(fault("").contains("empty") && fault("a: [").contains("line"));
    }
}
