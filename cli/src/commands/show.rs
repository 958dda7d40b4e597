//! `stepwell show`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use stepwell_engine::{ArtifactInfo, Direction, GapInfo, RunInfo, Store, SummaryRow};

use super::runs::params;
use crate::args::{Format, ShowArgs};
use crate::error::Result;
use crate::out::{self, Out};
use crate::table::{Side, TextTable};
use crate::{sql, text};

/// Everything the store knows about one run.
struct RunPage {
    info: RunInfo,
    metrics: Vec<SummaryRow>,
    artifacts: Vec<(Direction, ArtifactInfo)>,
    gaps: Vec<GapInfo>,
}

/// Shows one run.
///
/// # Errors
/// [`crate::error::CliError::Engine`]: no such run, or a name or prefix that fits several.
pub fn run(store: &Store, args: &ShowArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let page = RunPage::read(store, &args.run)?;
    match args.output.format() {
        Format::Table => write(args, out, page.text().as_bytes()),
        Format::Json => write(args, out, format!("{:#}\n", page.json()?).as_bytes()),
        Format::Csv | Format::Ndjson | Format::Arrow | Format::Parquet => {
            let batch = page.batch()?;
            sql::print(&batch.schema(), &[batch], &args.output, out)
        }
    }
}

fn write(args: &ShowArgs, out: &mut Out, bytes: &[u8]) -> Result<()> {
    match &args.output.output {
        Some(path) => out::write_file(path, |file| Ok(file.write_all(bytes)?)),
        None => Ok(out.write_all(bytes)?),
    }
}

impl RunPage {
    fn read(store: &Store, name: &str) -> Result<Self> {
        let run = store.find_run(name)?;
        let snapshot = store.snapshot()?;
        let not_found = || stepwell_engine::Error::NotFound {
            what: "run",
            name: name.to_owned(),
            hint: "`stepwell runs` lists them",
        };
        let info = snapshot.runs().iter().find(|info| info.run_id == run).cloned().ok_or_else(not_found)?;
        let all = snapshot.artifacts()?;
        let mut artifacts = Vec::new();
        for edge in snapshot.lineage()?.iter().filter(|edge| edge.run_id == run) {
            let artifact = all.iter().find(|artifact| artifact.id == edge.artifact_id);
            artifacts.extend(artifact.map(|artifact| (edge.direction, artifact.clone())));
        }
        artifacts.sort_by_key(|(direction, _)| *direction != Direction::Input);
        Ok(Self {
            info,
            metrics: snapshot.summary()?.into_iter().filter(|row| row.run_id == run).collect(),
            artifacts,
            gaps: snapshot.gaps()?.into_iter().filter(|gap| gap.run_id == run).collect(),
        })
    }

    fn text(&self) -> String {
        let mut text = self.head();
        let mut section = |title: &str, table: TextTable| {
            text.push_str(&format!("\n{title}\n{}", table.lines(2)));
        };
        section("Writers", self.writers());
        if !self.metrics.is_empty() {
            section("Metrics", self.metrics_table());
        }
        if !self.artifacts.is_empty() {
            section("Artifacts", self.artifacts_table());
        }
        if !self.gaps.is_empty() {
            section("Lost records", self.gaps_table());
        }
        text
    }

    fn head(&self) -> String {
        let info = &self.info;
        let took = info.ended.unwrap_or_else(text::now) - info.started;
        let mut lines = vec![("Run", info.run_id.to_string())];
        lines.extend(info.name.clone().map(|name| ("Name", name)));
        lines.push(("Stage", format!("{}/{}", info.pipeline, info.stage)));
        lines.push(("State", info.state.as_str().to_owned()));
        lines.push(("Started", text::moment(info.started)));
        lines.push(("Took", text::duration(took)));
        if !info.params.is_empty() {
            lines.push(("Params", params(&info.params)));
        }
        if !info.tags.is_empty() {
            let tags: Vec<String> = info.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            lines.push(("Tags", tags.join(" ")));
        }
        lines.iter().map(|(title, value)| format!("{title:<9}{value}\n")).collect()
    }

    fn writers(&self) -> TextTable {
        use Side::{Left, Right};
        let columns =
            [("writer", Left), ("state", Left), ("host", Left), ("process", Right), ("waits", Right), ("drops", Right)];
        let mut table = TextTable::new(&columns);
        for writer in &self.info.writers {
            table.row([
                writer.writer.to_string(),
                writer.state.as_str().to_owned(),
                writer.process.host.clone(),
                writer.process.pid.to_string(),
                text::count(writer.waits),
                text::count(writer.drops),
            ]);
        }
        table
    }

    fn metrics_table(&self) -> TextTable {
        use Side::{Left, Right};
        let mut table = TextTable::new(&[
            ("metrics name", Left),
            ("metric", Left),
            ("count", Right),
            ("first", Right),
            ("last", Right),
            ("min", Right),
            ("@step", Right),
            ("max", Right),
            ("@step", Right),
            ("nan/inf", Right),
        ]);
        for row in &self.metrics {
            let stats = &row.stats;
            let extreme = |extreme: Option<stepwell_engine::events::Extreme>| match extreme {
                Some(extreme) => (text::number(extreme.value), extreme.step.to_string()),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let ((min, min_step), (max, max_step)) = (extreme(stats.min), extreme(stats.max));
            table.row([
                row.metrics_name.clone(),
                stats.metric.clone(),
                text::count(stats.count),
                text::number(stats.first.value),
                text::number(stats.last.value),
                min,
                min_step,
                max,
                max_step,
                text::count(stats.non_finite),
            ]);
        }
        table
    }

    fn artifacts_table(&self) -> TextTable {
        use Side::{Left, Right};
        let columns = [("direction", Left), ("type", Left), ("name", Left), ("size", Right), ("hash", Left)];
        let mut table = TextTable::new(&columns);
        for (direction, artifact) in &self.artifacts {
            // In ML Metadata's table a name ends in the hash, which has a column of its own here.
            let name = artifact.name.strip_suffix(&artifact.uri).unwrap_or(&artifact.name).trim_end_matches(':');
            table.row([
                direction.as_str().to_owned(),
                artifact.artifact_type.clone(),
                text::shorten(name, 60),
                artifact.bytes.map_or("-".to_owned(), text::bytes),
                text::shorten(&artifact.uri, 19),
            ]);
        }
        table
    }

    fn gaps_table(&self) -> TextTable {
        use Side::{Left, Right};
        let mut table =
            TextTable::new(&[("when", Left), ("writer", Left), ("why", Left), ("records", Right), ("detail", Left)]);
        for gap in &self.gaps {
            table.row([
                text::moment(gap.time),
                gap.writer.to_string(),
                gap.gap.kind.as_str().to_owned(),
                text::count(gap.gap.records),
                gap.gap.detail.clone(),
            ]);
        }
        table
    }

    fn json(&self) -> Result<Value> {
        let info = &self.info;
        let artifacts = self.artifacts.iter().map(|(direction, artifact)| {
            json!({
                "direction": direction.as_str(), "type": artifact.artifact_type, "name": artifact.name,
                "uri": artifact.uri, "bytes": artifact.bytes, "version": artifact.version,
                "properties": artifact.properties,
            })
        });
        let writers = info.writers.iter().map(|writer| {
            json!({
                "writer": writer.writer.to_string(), "state": writer.state.as_str(), "host": writer.process.host,
                "pid": writer.process.pid, "waits": writer.waits, "drops": writer.drops,
            })
        });
        let gaps = self.gaps.iter().map(|gap| {
            json!({
                "writer": gap.writer.to_string(), "time_nanos": gap.time, "kind": gap.gap.kind.as_str(),
                "records": gap.gap.records, "detail": gap.gap.detail,
            })
        });
        let mut metrics = Vec::new();
        for row in &self.metrics {
            let mut stats = serde_json::to_value(&row.stats)?;
            stats["metrics_name"] = row.metrics_name.as_str().into();
            metrics.push(stats);
        }
        Ok(json!({
            "run_id": info.run_id.to_string(), "name": info.name, "pipeline": info.pipeline, "stage": info.stage,
            "state": info.state.as_str(), "started_nanos": info.started, "ended_nanos": info.ended,
            "params": info.params, "tags": info.tags, "writers": writers.collect::<Vec<_>>(), "metrics": metrics,
            "artifacts": artifacts.collect::<Vec<_>>(), "gaps": gaps.collect::<Vec<_>>(),
        }))
    }

    /// The metrics, one row each, in the columns of the SQL table `summary`.
    fn batch(&self) -> Result<RecordBatch> {
        let stats = || self.metrics.iter().map(|row| &row.stats);
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let float = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let int = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let names = self.metrics.iter().map(|row| row.metrics_name.as_str());
        let columns = [
            ("metrics_name", Arc::new(StringArray::from_iter_values(names)) as ArrayRef),
            ("metric", Arc::new(StringArray::from_iter_values(stats().map(|stats| stats.metric.as_str())))),
            ("count", int(stats().map(|stats| Some(whole(stats.count))).collect())),
            ("non_finite", int(stats().map(|stats| Some(whole(stats.non_finite))).collect())),
            ("first", float(stats().map(|stats| Some(stats.first.value)).collect())),
            ("last", float(stats().map(|stats| Some(stats.last.value)).collect())),
            ("last_step", int(stats().map(|stats| Some(stats.last.step)).collect())),
            ("min", float(stats().map(|stats| stats.min.map(|min| min.value)).collect())),
            ("min_step", int(stats().map(|stats| stats.min.map(|min| min.step)).collect())),
            ("max", float(stats().map(|stats| stats.max.map(|max| max.value)).collect())),
            ("max_step", int(stats().map(|stats| stats.max.map(|max| max.step)).collect())),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))?)
    }
}
