//! `stepwell lineage`.

use std::io::Write;

use stepwell_engine::Store;
use stepwell_query::lineage::tree::Glyphs;
use stepwell_query::lineage::{Graph, Lineage, Selection, Way, cypher, dot, json, mermaid, openlineage, prov, tree};

use super::lineage_load;
use crate::args::{DirectionArg, LineageArgs, LineageFormat};
use crate::error::{CliError, Result};
use crate::out::{self, Out};

/// Prints the lineage of an artifact or a run, of a pipeline, or of everything, or loads it into a server.
///
/// # Errors
/// [`CliError::NoLineage`], [`CliError::NoRuns`]; those of [`lineage_load::load`].
pub fn run(store: &Store, args: &LineageArgs, out: &mut Out) -> Result<()> {
    let snapshot = store.snapshot()?;
    let graph = Graph::read(&snapshot)?;
    let selection = Selection {
        start: args.start.clone(),
        pipeline: args.pipeline.clone(),
        way: Way::from(args.direction),
        depth_max: args.depth,
    };
    let lineage = graph.select(&selection)?;
    if lineage.nodes().next().is_none() {
        return Err(CliError::NoRuns { action: "show the lineage of" });
    }
    if let Some(address) = &args.to {
        return lineage_load::load(&cypher::property_graph(&lineage), address, args);
    }
    let text = written(&lineage, if args.json { LineageFormat::Json } else { args.format }, args.output.is_none())?;
    match &args.output {
        Some(path) => out::write_file(path, |file| Ok(file.write_all(text.as_bytes())?)),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

fn written(lineage: &Lineage<'_>, format: LineageFormat, is_stdout: bool) -> Result<String> {
    Ok(match format {
        LineageFormat::Tree if is_stdout && !is_utf8_locale(|name| std::env::var(name).ok()) => {
            tree::write(lineage, Glyphs::Ascii)
        }
        LineageFormat::Tree => tree::write(lineage, Glyphs::Unicode),
        LineageFormat::Json => json::write(lineage)?,
        LineageFormat::Mermaid => mermaid::write(lineage),
        LineageFormat::Dot => dot::write(lineage),
        LineageFormat::Openlineage => openlineage::write(lineage),
        LineageFormat::Prov => prov::write(lineage),
        LineageFormat::Cypher => cypher::script(&cypher::property_graph(lineage)),
    })
}

/// Whether the locale writes UTF-8: the first of LC_ALL, LC_CTYPE and LANG that is set says so. Other systems than Unix have
/// no such variables, and terminals that take Unicode.
fn is_utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
    match said.map(|value| value.to_ascii_lowercase()) {
        Some(value) => value.contains("utf-8") || value.contains("utf8"),
        None => !cfg!(unix),
    }
}

impl From<DirectionArg> for Way {
    fn from(direction: DirectionArg) -> Self {
        match direction {
            DirectionArg::Backward => Self::Backward,
            DirectionArg::Forward => Self::Forward,
            DirectionArg::Both => Self::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_utf8_locale;

    #[test]
    fn the_first_variable_that_is_set_says_the_locale() {
        let locale = |set: &[(&str, &str)]| {
            is_utf8_locale(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(locale(&[("LANG", "de_DE.UTF-8")]));
        assert!(locale(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!locale(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert_eq!(locale(&[]), !cfg!(unix));
    }
}
