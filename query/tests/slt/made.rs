//! Made runs, small enough to compute their answers by hand.

use crate::spec::{End, RunSpec, Writer};

/// Every made run, in the order in which they are started.
pub fn runs() -> Vec<RunSpec> {
    let parts =
        [sweep(), vision(), ranks(), diverged(), spikes(), restarts(), nightly(), lineage(), duplicates(), dead()];
    parts.into_iter().flatten().collect()
}

/// A grid of two optimisers and two learning rates with three seeds each; 100 steps, evaluated every 10.
///
/// The best configuration learns slowly at first, so that early cuts lose it. Each overfits from some step on.
fn sweep() -> Vec<RunSpec> {
    // Optimiser, learning rate, steps (in tens) to half of the accuracy and to overfitting, GPU-hours and tokens for 10
    // steps, and the last accuracy for seeds 0, 1, 2.
    let configs = [
        ("adamw", 0.01, 2.0, 8.0, 0.5, 1000.0, [0.90, 0.91, 0.92]),
        ("adamw", 0.1, 1.0, 4.0, 0.5, 1000.0, [0.80, 0.84, 0.82]),
        ("lion", 0.01, 4.0, 8.0, 0.25, 2000.0, [0.93, 0.95, 0.94]),
        ("lion", 0.1, 1.0, 3.0, 0.25, 2000.0, [0.70, 0.60, 0.66]),
    ];
    let mut runs = Vec::new();
    for (optimiser, lr, half, overfits, hours, tokens, accuracies) in configs {
        for (seed, last) in accuracies.into_iter().enumerate() {
            let mut writer = Writer::default();
            for step in 0..=100_i64 {
                if step % 3 == 1 {
                    writer.log("train_loss", step, 1.0 / (1.0 + step as f64 / 10.0));
                }
                if step % 10 == 0 {
                    let k = (step / 10) as f64;
                    let accuracy = last * k / (k + half) * (10.0 + half) / 10.0;
                    writer.log("val_accuracy", step, accuracy);
                    writer.log("val_loss", step, 1.0 - accuracy + 0.05 * (k - overfits).max(0.0));
                    writer.log("gpu_hours", step, k * hours);
                    writer.log("epoch", step, k / 5.0);
                    writer.log("tokens", step, k * tokens);
                }
            }
            let name = format!("{optimiser}-{lr}-{seed}");
            let run = RunSpec::new("sweep", "train", name).param("optimiser", optimiser).param("lr", lr);
            let run = run.param("seed", seed as i64).param("batch_size", 64).param("parameters", 1_000_000);
            runs.push(run.writer(writer));
        }
    }
    runs
}

/// Models of different size and speed, with one value of each metric.
fn vision() -> Vec<RunSpec> {
    let models = [
        ("v-large", 50_000_000, 0.90, 40.0),
        ("v-small", 5_000_000, 0.90, 10.0),
        ("v-tiny", 1_000_000, 0.80, 5.0),
        ("v-slow", 20_000_000, 0.85, 50.0),
        ("v-fast", 8_000_000, 0.85, 4.0),
    ];
    let run = |(name, parameters, accuracy, latency)| {
        let mut writer = Writer::default();
        writer.log("val_accuracy", 0, accuracy);
        writer.log("latency_ms", 0, latency);
        RunSpec::new("vision", "train", name).param("parameters", parameters).writer(writer)
    };
    models.map(run).into()
}

/// Seconds of one step of one rank: rank 1 is slow for 50 steps, rank 2 for 130; rank 0 stalls twice.
fn step_seconds(rank: i32, step: i64) -> f64 {
    match (rank, step) {
        (0, 70 | 140) => 4.0,
        (1, 10..60) | (2, 50..180) => 1.5,
        _ => 1.0,
    }
}

/// One run of four ranks and 200 steps. Each also logs what its machine does, every two seconds, with the second as step.
fn ranks() -> Vec<RunSpec> {
    let mut run = RunSpec::new("ddp", "train", "four-ranks");
    for rank in 0..4 {
        let mut writer = Writer::of_rank(rank);
        let (mut clock, mut sampled) = (0.0, 0);
        for step in 0..200 {
            let seconds = step_seconds(rank, step);
            clock += seconds;
            // All samples up to the end of the step: a stall shows as an idle GPU.
            while (sampled as f64) < clock {
                writer.log_as("system", "gpu_util", sampled, if seconds > 3.0 { 10.0 } else { 95.0 });
                sampled += 2;
            }
            writer.log("step_seconds", step, seconds);
            writer.log("tokens_per_second", step, 6000.0 / seconds);
            writer.log("clock_seconds", step, clock);
        }
        run = run.writer(writer);
    }
    vec![run]
}

/// A run of four ranks that diverges: layer 2 of rank 3 first, at step 20; then all of that rank, its loss, everything.
fn diverged() -> Vec<RunSpec> {
    let mut run = RunSpec::new("ddp", "train", "diverged");
    for rank in 0..4 {
        let mut writer = Writer::of_rank(rank);
        for step in 0..30 {
            for layer in 0..4 {
                let is_lost = step >= 23 || rank == 3 && (step >= 21 || step == 20 && layer == 2);
                let value = if is_lost { f64::NAN } else { 1.0 + f64::from(layer) };
                writer.log(format!("grad_norm/layer{layer}"), step, value);
            }
            let loss = match step {
                23.. => f64::NAN,
                22 if rank == 3 => f64::INFINITY,
                _ => 3.0 - step as f64 / 10.0,
            };
            writer.log("loss", step, loss);
        }
        run = run.writer(writer);
    }
    vec![run]
}

/// A loss with two spikes, at steps 100 and 200, and 20 activations, of which number 7 grows before the first.
fn spikes() -> Vec<RunSpec> {
    let mut writer = Writer::default();
    for step in 0..300_i64 {
        let noise = [0.0, 0.01, 0.0, -0.01][(step % 4) as usize];
        let spike = match step {
            100..105 => 1.0 - 0.2 * (step - 100) as f64,
            200 => 0.5,
            201 => 0.25,
            _ => 0.0,
        };
        writer.log("loss", step, 2.0 - 0.005 * step as f64 + noise + spike);
        for key in 0..20 {
            let grown = match (key, step) {
                (7, 90..100) => (step - 89) as f64,
                (12, 60..70) => 0.3,
                _ => 0.0,
            };
            writer.log(format!("act/k{key:02}"), step, 1.0 + 0.01 * (step * (key + 3) % 7) as f64 + grown);
        }
    }
    vec![RunSpec::new("spikes", "train", "spiky").writer(writer)]
}

/// A run that was resumed twice, a fork of it, and a fork of that. The loss tells attempt and step.
fn restarts() -> Vec<RunSpec> {
    let mut run = RunSpec::new("restarts", "train", "stitched");
    for (attempt, steps) in [0..60, 40..80, 70..100].into_iter().enumerate() {
        let mut writer = Writer::default();
        for step in steps {
            writer.log("loss", step, (attempt * 1000) as f64 + step as f64);
            if step % 10 == 5 {
                writer.log("val_loss", step, (attempt * 1000) as f64 + step as f64 + 0.5);
            }
        }
        if attempt == 2 {
            writer.log("loss", 99, 2099.25);
        }
        run = run.writer(writer);
    }
    let fork = |name: &str, parent: &str, from: i64, base: f64| {
        let mut writer = Writer::default();
        (from..from + 40).for_each(|step| writer.log("loss", step, base + step as f64));
        RunSpec::new("restarts", "train", name).param("parent", parent).param("fork_step", from).writer(writer)
    };
    vec![run, fork("forked", "stitched", 50, 10_000.0), fork("forked-again", "forked", 70, 20_000.0)]
}

/// One run a night; the last one is worse than the thirty before.
fn nightly() -> Vec<RunSpec> {
    let night = |night: i64| {
        let mut writer = Writer::default();
        let accuracy = if night == 31 { 0.85 } else { 0.9 + 0.001 * (night % 5) as f64 };
        writer.log("accuracy", 1000, accuracy);
        RunSpec::new("nightly", "test", format!("night-{night:02}")).param("night", night).writer(writer)
    };
    (1..=31).map(night).collect()
}

/// From raw data to models and reports, with a step that writes what an earlier one read.
fn lineage() -> Vec<RunSpec> {
    let run = |stage, name: &str| RunSpec::new("pipeline", stage, name).ends(End::Finished);
    vec![
        run("prepare", "split")
            .tag("git_commit", "aaa111")
            .reads("Dataset", "raw.csv", "raw")
            .writes("Dataset", "slice-a.csv", "slice a")
            .writes("Dataset", "slice-b.csv", "slice b"),
        run("train", "train-v1.2")
            .param("lr", 0.1)
            .tag("git_commit", "bbb222")
            .tag("environment", "torch-2.8")
            .reads("Dataset", "slice-b.csv", "slice b")
            .writes("Model", "model-v1.2", "model 1.2"),
        run("train", "train-v1.3")
            .param("lr", 0.05)
            .tag("git_commit", "ccc333")
            .tag("environment", "torch-2.9")
            .reads("Dataset", "slice-a.csv", "slice a")
            .reads("Model", "model-v1.2", "model 1.2")
            .writes("Model", "model-v1.3", "model 1.3"),
        run("evaluate", "evaluate-v1.3")
            .reads("Model", "model-v1.3", "model 1.3")
            .reads("Dataset", "slice-a.csv", "slice a")
            .writes("Report", "report-v1.3.html", "report 1.3"),
        // A teacher labels the slice it came from: a cycle.
        run("prepare", "relabel").reads("Model", "model-v1.3", "model 1.3").writes("Dataset", "slice-a.csv", "slice a"),
    ]
}

/// Four runs of one configuration, code and data; two of them give the same results.
fn duplicates() -> Vec<RunSpec> {
    let runs = [("same-1", 0.5, 1), ("same-2", 0.5, 1), ("other-result", 0.625, 1), ("other-seed", 0.75, 2)];
    let run = |(name, loss, seed)| {
        let mut writer = Writer::default();
        (0..5).for_each(|step| writer.log("val_loss", step, loss + (4 - step) as f64));
        let run = RunSpec::new("duplicates", "train", name).param("lr", 0.1).param("seed", seed);
        run.tag("git_commit", "ddd444").reads("Dataset", "table.csv", "table").writer(writer)
    };
    runs.map(run).into()
}

/// A run whose process is gone.
fn dead() -> Vec<RunSpec> {
    let mut writer = Writer::default();
    writer.log("loss", 0, 1.0);
    vec![RunSpec::new("housekeeping", "train", "gone").writer(writer).ends(End::Died)]
}
