//! Arguments of a table function, and the errors that tell how it is called.

use std::collections::BTreeSet;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use stepwell_engine::RunInfo;

use crate::suggest::nearest;

/// Names listed in an error.
const NAMES_MAX: usize = 20;

/// Texts and whole numbers a function was called with.
pub(super) struct Arguments {
    usage: &'static str,
    texts: Vec<String>,
}

impl Arguments {
    /// Takes literals; a whole number counts as its digits, so that an id can be written without quotes.
    pub(super) fn try_new(usage: &'static str, expressions: &[Expr]) -> Result<Self> {
        let texts = expressions.iter().map(text).collect::<Option<Vec<_>>>();
        let arguments = Self { usage, texts: Vec::new() };
        match texts {
            Some(texts) => Ok(Self { texts, ..arguments }),
            None => Err(arguments.error("its arguments are texts in single quotes, and no columns or expressions")),
        }
    }

    /// The arguments, when their number is one of `counts`.
    pub(super) fn texts(&self, counts: std::ops::RangeInclusive<usize>) -> Result<&[String]> {
        if counts.contains(&self.texts.len()) {
            return Ok(&self.texts);
        }
        let (low, high) = (*counts.start(), *counts.end());
        let wanted = match (low, high) {
            (1, 1) => "1 argument".to_owned(),
            (low, high) => format!("{low} to {high} arguments"),
        };
        Err(self.error(&format!("it takes {wanted}, and got {}", self.texts.len())))
    }

    /// How the function is called.
    pub(super) fn usage(&self) -> &'static str {
        self.usage
    }

    /// An error of this call.
    pub(super) fn error(&self, fault: &str) -> DataFusionError {
        DataFusionError::Plan(format!("{}: {fault}", self.usage))
    }

    /// An error for a name that is none of `names`.
    pub(super) fn unknown(&self, what: &str, name: &str, names: &BTreeSet<&str>) -> DataFusionError {
        let suggestion = nearest(name, names.iter().copied()).map(|near| format!("; did you mean {near:?}?"));
        let mut shown: Vec<&str> = names.iter().copied().take(NAMES_MAX).collect();
        if names.len() > NAMES_MAX {
            shown.push("...");
        }
        let list = if shown.is_empty() { String::new() } else { format!("; there are: {}", shown.join(", ")) };
        self.error(&format!("there is no {what} {name:?}{}{list}", suggestion.unwrap_or_default()))
    }

    /// The run that `text` names: by its id, the beginning of one, or its name.
    pub(super) fn run<'r>(&self, text: &str, runs: &'r [RunInfo]) -> Result<&'r RunInfo> {
        let found: Vec<&RunInfo> = runs.iter().filter(|run| is_named(run, text)).collect();
        match found.as_slice() {
            [run] => Ok(run),
            [] => Err(self.unknown("run", text, &names(runs))),
            [first, second, ..] => Err(self.error(&format!(
                "{text:?} fits {} runs, {} and {} among them; give more of the id",
                found.len(),
                first.run_id,
                second.run_id
            ))),
        }
    }
}

/// Whether `text` is the name of a run, its id, or the beginning of that.
pub(super) fn is_named(run: &RunInfo, text: &str) -> bool {
    run.name.as_deref() == Some(text) || !text.is_empty() && run.run_id.to_string().starts_with(text)
}

/// Names of runs, each once.
pub(super) fn names(runs: &[RunInfo]) -> BTreeSet<&str> {
    runs.iter().filter_map(|run| run.name.as_deref()).collect()
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Literal(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => Some(number.to_string()),
        _ => None,
    }
}
