//! `stepwell sql`.

use std::io::Read;
use std::path::Path;

use stepwell_engine::Access;
use stepwell_query::{DamagedPolicy, QueryOptions};

use crate::args::SqlArgs;
use crate::commands::open;
use crate::error::{CliError, Result};
use crate::messages;
use crate::out::Out;
use crate::sql::{self, Database};

/// Answers one SQL statement.
///
/// # Errors
/// [`CliError::EmptySql`], [`CliError::Query`], [`CliError::Engine`].
pub fn run(store: &Path, args: &SqlArgs, out: &mut Out) -> Result<()> {
    let (statement, origin) = statement(args)?;
    if statement.trim().trim_end_matches(';').is_empty() {
        return Err(CliError::EmptySql { origin });
    }
    sql::check_target(&args.output, out)?;
    let database = Database::open(&open(store, Access::Read)?);
    let spinner = messages::spinner("running the query");
    let result = database.query_with(&statement, &options(args));
    spinner.finish_and_clear();
    let result = result?;
    for warning in result.warnings() {
        messages::say(warning);
    }
    sql::print(result.schema(), result.batches(), &args.output, out)
}

fn options(args: &SqlArgs) -> QueryOptions {
    let damaged = if args.skip_damaged { DamagedPolicy::Skip } else { DamagedPolicy::Refuse };
    let mut options =
        QueryOptions::default().with_damaged(damaged).with_timeout(args.timeout).with_rows_max(args.max_rows);
    if let Some(mebibytes) = args.memory_limit {
        options = options.with_memory_limit_bytes((mebibytes as usize) << 20);
    }
    args.params.iter().fold(options, |options, (name, value)| options.with_parameter(name, value.clone()))
}

/// The statement, and where it came from.
fn statement(args: &SqlArgs) -> Result<(String, String)> {
    match (&args.file, args.query.as_deref()) {
        (Some(file), _) => {
            let statement = std::fs::read_to_string(file).map_err(CliError::io("read the SQL file", file))?;
            Ok((statement, file.display().to_string()))
        }
        (None, Some("-")) => {
            let mut statement = String::new();
            std::io::stdin().read_to_string(&mut statement).map_err(CliError::io("read SQL from", "stdin"))?;
            Ok((statement, "stdin".to_owned()))
        }
        (None, statement) => Ok((statement.unwrap_or_default().to_owned(), "the argument".to_owned())),
    }
}
