//! Configuration files of Git, as far as the questions asked here need them: no files that they include.

use std::path::Path;

/// Largest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// The settings of one file, in its order.
#[derive(Debug, Default)]
pub(super) struct Config {
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    /// In lower case.
    section: String,
    subsection: Option<String>,
    /// In lower case.
    key: String,
    value: String,
}

impl Config {
    /// Reads a file; one that cannot be read has no settings.
    pub fn read(path: &Path) -> Self {
        let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= BYTES_MAX);
        let text = if is_small { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let mut settings = Vec::new();
        let (mut section, mut subsection) = (String::new(), None);
        let joined = text.replace("\\\r\n", "").replace("\\\n", "");
        for line in joined.lines() {
            let mut line = line.trim();
            if let Some(rest) = line.strip_prefix('[') {
                let Some((header, after)) = rest.split_once(']') else { continue };
                (section, subsection) = match header.split_once(char::is_whitespace) {
                    Some((name, sub)) => (name.to_lowercase(), Some(unquoted(sub.trim()))),
                    None => (header.to_lowercase(), None),
                };
                line = after.trim();
            }
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            // A key without a value is true.
            let (key, value) = line
                .split_once('=')
                .map_or((line, "true".to_owned()), |(key, value)| (key.trim_end(), unquoted(value.trim_start())));
            let (section, subsection, key) = (section.clone(), subsection.clone(), key.to_lowercase());
            settings.push(Setting { section, subsection, key, value });
        }
        Self { settings }
    }

    /// The last value of `section.key`.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let is_it =
            |setting: &&Setting| setting.section == section && setting.subsection.is_none() && setting.key == key;
        self.settings.iter().rfind(is_it).map(|setting| setting.value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, section: &str, key: &str, otherwise: bool) -> bool {
        match self.get(section, key).map(str::to_lowercase).as_deref() {
            None => otherwise,
            Some("false" | "no" | "off" | "0" | "") => false,
            Some(_) => true,
        }
    }

    /// Address of the remote `origin`, else of the first that is there.
    pub fn remote(&self) -> Option<&str> {
        let url = |name: Option<&str>| {
            let is_it = |setting: &&Setting| {
                setting.section == "remote"
                    && setting.key == "url"
                    && name.is_none_or(|name| setting.subsection.as_deref() == Some(name))
            };
            self.settings.iter().find(is_it).map(|setting| setting.value.as_str())
        };
        url(Some("origin")).or_else(|| url(None))
    }

    /// Whether it takes settings from other files.
    pub fn includes(&self) -> bool {
        self.settings.iter().any(|setting| matches!(setting.section.as_str(), "include" | "includeif"))
    }
}

/// A value without its quotes and what is behind it as a comment.
fn unquoted(text: &str) -> String {
    let (mut value, mut quoted) = (String::new(), false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(other) => value.push(other),
                None => {}
            },
            '#' | ';' if !quoted => break,
            other => value.push(other),
        }
    }
    if quoted { value } else { value.trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_git_reads_them() {
        let text = "# a\n[Core]\n\tFileMode = false ; why\n\tbare\n[remote \"up\"]\n\turl = one\n[remote \"origin\"]\n\turl = \"t#wo\"\n\
                    [core] autocrlf = in\\\nput\n[include]\npath = x\n";
        let config = Config::parse(text);
        assert!(!config.is_on("core", "filemode", true) && config.is_on("core", "bare", false));
        assert_eq!(config.get("core", "autocrlf"), Some("input"));
        assert_eq!(config.remote(), Some("t#wo"));
        assert!(config.includes());
        assert_eq!(Config::parse("[remote \"up\"]\nurl = one").remote(), Some("one"));
        assert_eq!(Config::parse("").remote(), None);
    }
}
