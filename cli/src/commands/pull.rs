//! `stepwell pull`.

use std::path::Path;

use stepwell_engine::Access;
use stepwell_remote::{PullOptions, Remote, entries};

use super::push::{finish, show};
use crate::error::Result;
use crate::out::Out;
use crate::remote_args::PullArgs;
use crate::{messages, sql};

/// Fetches what a remote has and the store has not.
///
/// # Errors
/// [`CliError::NotMoved`](crate::error::CliError) when something could not be fetched.
pub fn run(path: &Path, args: &PullArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let entry = entries::find(path, args.remote.as_deref())?;
    let remote = Remote::open(&entry)?;
    let store = super::open(path, Access::Create)?;
    let options = PullOptions {
        runs: args.run.clone(),
        pipeline: args.pipeline.clone(),
        jobs: args.jobs.into(),
        dry_run: args.dry_run,
    };
    let bar = messages::bar("pulling", "logs", 0);
    let report = remote.pull(&store, &options, &|progress| show(&bar, progress));
    bar.finish_and_clear();
    finish(&report?, &args.output, if args.dry_run { "to pull" } else { "pulled" }, out)
}
