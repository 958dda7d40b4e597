//! MD5 in DVC's manner, by which DVC and CMF know files and folders.

use std::path::Path;

use md5::{Digest, Md5};

use super::hash::Hashes;
use super::take::{Keep, TakeOptions, take_for};
use super::walk::Links;
use crate::error::Result;

/// Suffix of the MD5 of a folder.
const FOLDER_SUFFIX: &str = ".dir";
/// Names that DVC looks at in no folder, besides what a `.dvcignore` says.
const IGNORED: [&str; 3] = [".git", ".hg", ".dvc"];

/// MD5 of a file or folder as DVC 3 computes it, and its size in bytes: `<md5>` of the bytes of a file; of a folder
/// `<md5>.dir`, the MD5 of the list of its files. Links are followed. A `.dvcignore` is not looked at.
///
/// # Cost
/// Every file is read; nothing is written or cached.
///
/// # Errors
/// [`crate::Error::Io`] when something cannot be read; [`crate::Error::InvalidPath`] for a name that is not UTF-8.
pub fn dvc_md5(path: &Path) -> Result<(String, u64)> {
    let options = TakeOptions { keep: Keep::Reference, hashes: Hashes::WithMd5, links: Links::Follow };
    let taken = take_for(None, path, &options)?;
    Ok((taken.md5.unwrap_or_default(), taken.bytes))
}

/// MD5 of a file, as text.
pub(super) fn file_text(md5: [u8; 16]) -> String {
    md5.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// MD5 of a folder, as text: of the list that DVC keeps as a `.dir` file, in which files are sorted by path.
pub(super) fn folder_text<'a>(files: impl Iterator<Item = (&'a str, [u8; 16])>) -> String {
    let mut files: Vec<_> = files.filter(|(path, _)| !path.split('/').any(|part| IGNORED.contains(&part))).collect();
    files.sort_unstable();
    let lines: Vec<_> = files
        .into_iter()
        .map(|(path, md5)| format!("{{\"md5\": \"{}\", \"relpath\": {}}}", file_text(md5), python_json(path)))
        .collect();
    let list = format!("[{}]", lines.join(", "));
    file_text(Md5::digest(list.as_bytes()).into()) + FOLDER_SUFFIX
}

/// Text as Python's `json.dumps` writes it: all but ASCII escaped, in UTF-16.
fn python_json(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            // DEL is ASCII, and left as it is.
            ' '..='\u{7f}' => json.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those that DVC 3.51.1 wrote for these files in a store made by CMF.
    #[test]
    fn files_and_folders_hash_as_dvc_says() {
        let folder = tempfile::tempdir().expect("folder");
        let tree = folder.path().join("rawdir");
        std::fs::create_dir(&tree).expect("folder");
        for number in 0..5 {
            std::fs::write(tree.join(format!("{number}.txt")), format!("item {number}")).expect("written");
        }
        assert_eq!(dvc_md5(&tree).expect("md5"), ("bde54977a71f07f628eb767006563261.dir".to_owned(), 30));
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).expect("folder");
        assert_eq!(dvc_md5(&empty).expect("md5").0, "d751713988987e9331980363e24189ce.dir", "the MD5 of `[]`");
        let file = folder.path().join("file");
        std::fs::write(&file, "abc").expect("written");
        assert_eq!(dvc_md5(&file).expect("md5"), ("900150983cd24fb0d6963f7d28e17f72".to_owned(), 3));
    }

    #[test]
    fn text_is_escaped_as_python_does() {
        assert_eq!(python_json("a\"b\\c\n\t\u{1}\u{7f}é😀"), "\"a\\\"b\\\\c\\n\\t\\u0001\u{7f}\\u00e9\\ud83d\\ude00\"");
    }
}
