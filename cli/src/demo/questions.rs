//! What the demo asks the store, and the commands it leaves the user with.

use std::path::{Path, PathBuf};

use stepwell_engine::{RunInfo, Store};

use super::page::{Page, shell};
use super::train::{EPOCH_METRICS, PIPELINE, ROW, STAGE, STEP_METRICS, VAL_ACCURACY};
use super::worker::Confirmed;
use super::{NANOGPT_PIPELINE, train, worker};
use crate::args::{DEFAULT_STORE, PlotArgs, XAxis};
use crate::commands::Totals;
use crate::error::Result;
use crate::plot;
use crate::sql::{Database, integers, literal};
use crate::table::{Side, TextTable};
use crate::text::{self, ShortIds};

/// Imported runs listed in the demo.
const IMPORTED_SHOWN: usize = 2;
/// Runs of its own listed in the demo, besides the first of all.
const OWN_SHOWN: usize = 5;
/// Parameter of the imported runs: the record they were made for.
const RECORD: &str = "record";
/// Characters of a run's name shown in the list.
const NAME_WIDTH: usize = 20;
/// Highest validation loss drawn: the first value of a run, 10 or more, would leave no room for what follows.
const VAL_LOSS_SHOWN_MAX: f64 = 5.0;
/// Lines of a drawing in the demo.
const PLOT_ROWS: u16 = 14;

/// What is left of a run that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Records in SQL.
    pub records: u64,
    /// Confirmed records that are not there exactly once.
    pub missing: u64,
}

/// Counts, in SQL, what is left of what a run had confirmed: each metric of each confirmed step, once.
///
/// # Errors
/// [`crate::error::CliError::Query`].
pub fn kept(store: &Store, confirmed: &Confirmed) -> Result<Kept> {
    let database = Database::open(store);
    let run = literal(&confirmed.run.to_string());
    let count = |what: &str, condition: &str| -> Result<u64> {
        let statement = format!("SELECT {what} FROM metrics WHERE run_id = {run} AND {condition}");
        let result = database.query(&statement)?;
        let value = result.batches().first().map(|batch| integers(batch.column(0))).transpose()?;
        Ok(value.map_or(0, |value| value.value(0)).try_into().unwrap_or(0))
    };
    let records = count("count(*)", "true")?;
    let mut missing = 0;
    let mut confirmed_rows = 0;
    for metric in ROW {
        // The steps are those from 0 to the last one confirmed; as many different ones must be there.
        let condition = format!(
            "metrics_name = {} AND metric = {} AND step <= {}",
            literal(STEP_METRICS),
            literal(metric),
            confirmed.step
        );
        let (found, different) = (count("count(*)", &condition)?, count("count(DISTINCT step)", &condition)?);
        let wanted = u64::try_from(confirmed.step + 1).unwrap_or(0);
        missing += wanted.abs_diff(different) + (found - different);
        confirmed_rows += wanted;
    }
    let epochs = confirmed.records.saturating_sub(confirmed_rows);
    let found = count("count(*)", &format!("metrics_name = {}", literal(EPOCH_METRICS)))?;
    Ok(Kept { records, missing: missing + epochs.saturating_sub(found) })
}

/// A few of the runs, much as `stepwell runs` lists them.
///
/// # Errors
/// [`crate::error::CliError::Engine`].
pub fn runs(store: &Store, page: &mut Page<'_>) -> Result<()> {
    page.section("Runs: all of them in one store")?;
    let snapshot = store.snapshot()?;
    let newest: Vec<&RunInfo> = snapshot.runs().iter().rev().collect();
    // The imported runs are many and alike; two of them are enough here.
    let imported = newest.iter().filter(|run| run.pipeline == NANOGPT_PIPELINE).take(IMPORTED_SHOWN);
    let own: Vec<&&RunInfo> = newest.iter().filter(|run| run.pipeline != NANOGPT_PIPELINE).collect();
    let (first, rest) = own.split_at(own.len().min(OWN_SHOWN));
    let shown: Vec<&RunInfo> = imported.chain(first.iter().copied()).chain(rest.last().copied()).copied().collect();

    let short_ids = ShortIds::new(newest.iter().map(|run| run.run_id));
    let totals = Totals::new(&snapshot.summary()?, &[VAL_ACCURACY.to_owned()]);
    use Side::{Left, Right};
    let mut table = TextTable::new(&[
        ("run", Left),
        ("name", Left),
        ("stage", Left),
        ("state", Left),
        ("took", Right),
        ("records", Right),
        (VAL_ACCURACY, Right),
    ]);
    for run in &shown {
        table.row([
            short_ids.of(run.run_id),
            text::shorten(run.name.as_deref().unwrap_or("-"), NAME_WIDTH),
            format!("{}/{}", run.pipeline, run.stage),
            run.state.as_str().to_owned(),
            text::duration(run.ended.unwrap_or(run.started) - run.started),
            text::count(totals.rows(run.run_id)),
            totals.last(run.run_id, VAL_ACCURACY).map_or("-".to_owned(), text::number),
        ]);
    }
    page.text(&format!("{}   ... and {} more\n", table.lines(3), newest.len() - shown.len()))
}

/// Questions in SQL, with their answers.
///
/// # Errors
/// [`crate::error::CliError::Query`].
pub fn ask(store: &Store, page: &mut Page<'_>) -> Result<()> {
    page.section("Ask: SQL over all runs")?;
    let database = Database::open(store);
    page.question(
        &database,
        "Which run was best?",
        "SELECT r.name, s.last AS val_accuracy\n\
         FROM summary s JOIN runs r USING (run_id)\n\
         WHERE s.metric = 'val_accuracy' AND r.state = 'finished'\n\
         ORDER BY val_accuracy DESC, r.name LIMIT 3",
    )?;
    page.question(
        &database,
        "Which learning rate is best, over its seeds?",
        "SELECT r.params['lr'] AS lr, count(*) AS runs, avg(s.last) AS mean, stddev(s.last) AS deviation\n\
         FROM summary s JOIN runs r USING (run_id)\n\
         WHERE s.metric = 'val_accuracy' AND r.state = 'finished'\n\
         GROUP BY 1 ORDER BY mean DESC",
    )?;
    page.question(
        &database,
        "NanoGPT: when does the validation loss fall below 3.3, and after how many minutes?",
        "WITH reached AS (\n\
         \x20 SELECT run_id, min(step) AS step FROM metrics\n\
         \x20 WHERE metric = 'val_loss' AND value < 3.3 GROUP BY run_id)\n\
         SELECT r.params['record'] AS record, count(*) AS runs,\n\
         \x20      avg(reached.step) AS step, avg(t.value) / 60000 AS minutes\n\
         FROM reached JOIN runs r USING (run_id)\n\
         JOIN metrics t ON t.run_id = reached.run_id AND t.step = reached.step\n\
         WHERE t.metric = 'train_time_ms'\n\
         GROUP BY 1 ORDER BY 1",
    )
}

/// Curves of both pipelines, in the terminal.
///
/// # Errors
/// Those of [`plot::draw_text`].
pub fn curves(store: &Store, page: &mut Page<'_>) -> Result<()> {
    page.section("Plot: curves in the terminal")?;
    let snapshot = store.snapshot()?;
    let is_shown = |run: &&RunInfo| {
        run.pipeline == PIPELINE
            && run.stage == STAGE
            && run.name.as_deref().is_some_and(|name| name.ends_with("seed=0") || name == worker::RUN_NAME)
    };
    let ids: Vec<String> = snapshot.runs().iter().filter(is_shown).map(|run| run.run_id.to_string()).collect();
    let loss = PlotArgs { runs: ids, log_y: true, smooth: 0.9, ..plot_args(train::ROW[0]) };
    let text = plot::draw_text(plot::read(store, &loss)?, &loss, PLOT_ROWS, page.out())?;
    page.text(&indented(&text))?;

    let val_loss = PlotArgs {
        pipeline: Some(NANOGPT_PIPELINE.to_owned()),
        by: Some(RECORD.to_owned()),
        y_max: Some(VAL_LOSS_SHOWN_MAX),
        ..plot_args("val_loss")
    };
    let text = plot::draw_text(plot::read(store, &val_loss)?, &val_loss, PLOT_ROWS, page.out())?;
    page.text(&format!("\n{}", indented(&text)))
}

fn plot_args(metric: &str) -> PlotArgs {
    PlotArgs {
        runs: Vec::new(),
        metric: metric.to_owned(),
        metrics_name: None,
        pipeline: None,
        stage: None,
        by: None,
        x: XAxis::Step,
        svg: None,
        png: None,
        width: None,
        height: None,
        y_min: None,
        y_max: None,
        log_y: false,
        smooth: 0.0,
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}").trim_end().to_owned() + "\n").collect()
}

/// How this program was called, so that what is printed can be typed again: by its name when it was found by name,
/// otherwise by its path, short where it lies below the current folder.
fn program() -> String {
    let Some(called) = std::env::args_os().next().map(PathBuf::from) else { return "stepwell".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    shell(called.strip_prefix(&here).unwrap_or(&called))
}

/// The last words: what to try next.
///
/// # Errors
/// [`crate::error::CliError::Output`].
pub fn next_commands(store: &Path, page: &mut Page<'_>) -> Result<()> {
    let option = if store == Path::new(DEFAULT_STORE) { String::new() } else { format!(" --store {}", shell(store)) };
    let program = program();
    page.text(&format!(
        "\nThe store is {}. Try next:\n\n\
         \x20  {program}{option} show \"{}\"\n\
         \x20  {program}{option} sql \"SELECT * FROM summary ORDER BY count DESC LIMIT 10\"\n\
         \x20  {program}{option} plot --metric val_loss --by {RECORD} --x train_time_ms --y-max 5 --svg val_loss.svg\n",
        shell(store),
        worker::RUN_NAME,
    ))
}
