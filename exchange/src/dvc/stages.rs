//! Stages of DVC: what they read and wrote, as the lock file and the `.dvc` files have it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stepwell_engine::ParamValue;

use super::yaml::{self, Kind, Node};
use crate::error::{Error, Result};

/// Parameters of this file are known by their names alone.
const DEFAULT_PARAMS: &str = "params.yaml";

/// A stage that ran.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    pub name: String,
    pub command: String,
    pub inputs: Vec<Data>,
    pub outputs: Vec<Data>,
    pub params: BTreeMap<String, ParamValue>,
    /// File that tells of it.
    pub file: PathBuf,
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    /// Below the folder that is imported, or an address with `://`.
    pub path: String,
    /// MD5 as DVC has it, or another checksum.
    pub hash: String,
    pub bytes: Option<u64>,
    pub files: Option<i64>,
}

/// What a file is read with: the folder that is imported, and the file.
struct Place<'a> {
    file: &'a Path,
    /// Folder that paths are relative to, below the imported folder.
    folder: String,
}

/// Reads the stages of a lock file; `folder` is its folder below the imported one. The second list names stages of `dvc.yaml` that it
/// does not have.
pub(super) fn read_lock(file: &Path, folder: &str) -> Result<(Vec<Stage>, Vec<String>)> {
    let lock = yaml::read(file)?;
    let declared_file = file.with_file_name("dvc.yaml");
    let declared = if declared_file.exists() { Some(yaml::read(&declared_file)?) } else { None };
    let declared = declared.as_ref().and_then(|node| node.get("stages"));
    let stages = if lock.get("schema").is_some() { lock.get("stages") } else { Some(&lock) };
    let place = Place { file, folder: folder.to_owned() };
    let mut found = Vec::new();
    if let Some(stages) = stages.filter(|stages| !stages.is_null()) {
        for (name, node) in place.entries(stages, "stages")? {
            // `name@item` is one of several that a `foreach` made.
            let template = name.split('@').next().unwrap_or(name);
            let working = declared.and_then(|stages| stages.get(template)).and_then(|stage| stage.get("wdir"));
            let working = working.map(|node| place.text(node, "wdir")).transpose()?;
            let place =
                Place { file, folder: place.below(working.unwrap_or(".")).unwrap_or_else(|_| folder.to_owned()) };
            found.push(place.stage(name, node)?);
        }
    }
    let has = |name: &str| found.iter().any(|stage| stage.name.split('@').next() == Some(name));
    let missing = match declared.map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries.iter().map(|(name, _)| name).filter(|name| !has(name)).cloned().collect(),
        _ => Vec::new(),
    };
    Ok((found, missing))
}

/// Reads a `.dvc` file, a stage without a command; `name` is its path below the imported folder.
pub(super) fn read_dvc_file(file: &Path, name: &str) -> Result<Stage> {
    let node = yaml::read(file)?;
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut place = Place { file, folder: folder.to_owned() };
    if let Some(working) = node.get("wdir") {
        place.folder = place.below(place.text(working, "wdir")?)?;
    }
    place.stage(name, &node)
}

impl Place<'_> {
    fn failed(&self, node: &Node, fault: String) -> Error {
        Error::Yaml { path: self.file.to_owned(), line: node.line, fault }
    }

    fn entries<'n>(&self, node: &'n Node, what: &str) -> Result<&'n [(String, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Ok(entries),
            _ => Err(self.failed(node, format!("{what} is no map"))),
        }
    }

    fn text<'n>(&self, node: &'n Node, what: &str) -> Result<&'n str> {
        match &node.kind {
            Kind::Scalar { text, .. } if !text.is_empty() && !text.contains('\0') => Ok(text),
            _ => Err(self.failed(node, format!("{what} is no text"))),
        }
    }

    fn number(&self, node: &Node, what: &str) -> Result<i64> {
        match node.to_param() {
            ParamValue::Int(number) if number >= 0 => Ok(number),
            _ => Err(self.failed(node, format!("{what} is no whole number of 0 or more"))),
        }
    }

    fn stage(&self, name: &str, node: &Node) -> Result<Stage> {
        self.entries(node, name)?;
        let command = match node.get("cmd") {
            None => String::new(),
            Some(node) => match &node.kind {
                Kind::List(parts) => {
                    parts.iter().map(|part| self.text(part, "cmd")).collect::<Result<Vec<_>>>()?.join("\n")
                }
                _ => self.text(node, "cmd")?.to_owned(),
            },
        };
        Ok(Stage {
            name: name.to_owned(),
            command,
            inputs: self.data(node.get("deps"), "deps")?,
            outputs: self.data(node.get("outs"), "outs")?,
            params: self.params(node.get("params"))?,
            file: self.file.to_owned(),
        })
    }

    fn data(&self, node: Option<&Node>, what: &str) -> Result<Vec<Data>> {
        let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(Vec::new()) };
        let Kind::List(nodes) = &node.kind else { return Err(self.failed(node, format!("{what} is no list"))) };
        nodes.iter().map(|node| self.one(node, what)).collect()
    }

    fn one(&self, node: &Node, what: &str) -> Result<Data> {
        self.entries(node, what)?;
        let path = node.get("path").ok_or_else(|| self.failed(node, format!("one of {what} has no path")))?;
        let path = self.below(self.text(path, "path")?)?;
        let hash = ["md5", "etag", "checksum"].into_iter().find_map(|key| node.get(key).map(|node| (key, node)));
        let hash = hash.map(|(key, node)| self.text(node, key)).transpose()?;
        let hash = hash.ok_or_else(|| self.failed(node, format!("{path:?} has no md5")))?.to_owned();
        let bytes = node.get("size").map(|node| self.number(node, "size")).transpose()?;
        let files = node.get("nfiles").map(|node| self.number(node, "nfiles")).transpose()?;
        Ok(Data { path, hash, bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()), files })
    }

    fn params(&self, node: Option<&Node>) -> Result<BTreeMap<String, ParamValue>> {
        let mut params = BTreeMap::new();
        let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(params) };
        for (file, node) in self.entries(node, "params")? {
            for (name, value) in self.entries(node, file)? {
                let name = if file == DEFAULT_PARAMS { name.clone() } else { format!("{file}:{name}") };
                if !value.is_null() {
                    params.insert(name, value.to_param());
                }
            }
        }
        Ok(params)
    }

    /// A path as it is below the imported folder.
    ///
    /// # Errors
    /// [`Error::PathLeadsOut`]. Addresses with `://` stay as they are: they are names, and nothing is read from them.
    fn below(&self, path: &str) -> Result<String> {
        let out = || Error::PathLeadsOut { path: self.file.to_owned(), name: path.to_owned() };
        if path.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            return Ok(path.to_owned());
        }
        if path.starts_with('/') || path.contains('\\') || path.as_bytes().get(1) == Some(&b':') {
            return Err(out());
        }
        let mut parts: Vec<&str> = self.folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or_else(out)?),
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }
}
