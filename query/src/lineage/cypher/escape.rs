//! The one place where text becomes part of a Cypher statement.

/// A text as a literal of Cypher, on one line.
///
/// Some parsers read `\u0027` anywhere, before they look for the ends of strings; so no backslash of the text is ever
/// followed by a `u`: such a text is written as two, put together by `+`.
pub fn text(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|next| matches!(next, 'u' | 'U')) => literal.push_str("\\\\' + '"),
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("\\'"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                literal.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

/// Names of CMF's own, which need no backticks.
const PLAIN: [&str; 27] = [
    "Pipeline",
    "Stage",
    "Execution",
    "Dataset",
    "Dataslice",
    "Label",
    "Model",
    "Metrics",
    "Step_Metrics",
    "Environment",
    "contains",
    "runs",
    "input",
    "output",
    "has_label",
    "derived",
    "linked",
    "Name",
    "uri",
    "Path",
    "Command",
    "Commit",
    "git_repo",
    "pipeline_id",
    "pipeline_name",
    "Execution_Name",
    "Artifact_Name",
];

/// A label, a type of relations or a key of properties: in backticks, with its backticks doubled, unless it is one of CMF's.
/// Backslashes and control characters, which no two parsers take alike, become `_`; an empty name too.
pub fn name(name: &str) -> String {
    if PLAIN.contains(&name) {
        return name.to_owned();
    }
    let safe = |c: char| if c == '\\' || c.is_control() { '_' } else { c };
    let inner: String = name.chars().map(safe).collect::<String>().replace('`', "``");
    if inner.is_empty() { "`_`".to_owned() } else { format!("`{inner}`") }
}

#[cfg(test)]
mod tests {
    use super::{name, text};

    #[test]
    fn no_text_ends_its_literal() {
        let cases = [
            ("plain", r"'plain'"),
            ("it's", r"'it\'s'"),
            ("a\\", r"'a\\'"),
            ("a\\'b", r"'a\\\'b'"),
            ("two\nlines\r\t", r"'two\nlines\r\t'"),
            ("\u{0}\u{7f}\u{2028}", r"'\u0000\u007F\u2028'"),
            (r"\u0027}) DETACH DELETE n //", r"'\\' + 'u0027}) DETACH DELETE n //'"),
            (r"\\u0027", r"'\\\\' + 'u0027'"),
            ("é \u{1f600} \"q\" `b` ;", "'é \u{1f600} \"q\" `b` ;'"),
            ("", "''"),
        ];
        for (given, literal) in cases {
            assert_eq!(text(given), literal, "{given:?}");
        }
    }

    #[test]
    fn no_name_ends_its_backticks() {
        let cases = [
            ("Dataset", "Dataset"),
            ("contains", "contains"),
            ("has_label", "has_label"),
            ("my data", "`my data`"),
            ("a`b", "`a``b`"),
            ("x`) DETACH DELETE n //", "`x``) DETACH DELETE n //`"),
            (r"\u0060", "`_u0060`"),
            ("a\nb", "`a_b`"),
            ("order", "`order`"),
            ("9lives", "`9lives`"),
            ("größe", "`größe`"),
            ("", "`_`"),
        ];
        for (given, expected) in cases {
            assert_eq!(name(given), expected, "{given:?}");
        }
    }
}
