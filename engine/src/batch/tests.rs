use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};

use super::*;

fn definitions() -> Vec<Definition> {
    [("train", "loss"), ("eval", "acc"), ("train", "acc")]
        .map(|(name, metric)| Definition { metrics_name: name.into(), metric: metric.into() })
        .to_vec()
}

fn writer() -> WriterId {
    WriterId { rank: 2, attempt: 1, nonce: 7 }
}

fn batches(records: &[(u32, u64, Record)]) -> Vec<NamedRows> {
    let definitions = definitions();
    let mut batcher = Batcher::new(definitions.len());
    for (ring, index, record) in records {
        batcher.push(*ring, *index, record);
    }
    batcher.finish(&definitions)
}

fn record(metric: u32, step: i64, value: f64) -> Record {
    Record { metric, time: 1_000_000 + step * 1000, step, value_bits: value.to_bits() }
}

#[test]
fn rows_are_grouped_and_sorted() {
    let all = batches(&[
        (0, 0, record(0, 5, 0.5)),
        (0, 1, record(2, 5, 0.9)),
        (0, 2, record(0, 4, 0.4)),
        (1, 0, record(0, 4, 0.3)),
        (0, 3, record(1, 0, 1.0)),
    ]);
    assert_eq!(all.iter().map(|batch| batch.metrics_name.as_str()).collect::<Vec<_>>(), ["eval", "train"]);
    let train = &all[1];
    let batch = train.to_batch(RunId::generate(), writer()).expect("batch");
    let metric = batch.column(2).as_dictionary::<arrow::datatypes::Int32Type>();
    let names = metric.values().as_string::<i32>();
    let order: Vec<_> = metric.keys().values().iter().map(|key| names.value(*key as usize)).collect();
    assert_eq!(order, ["acc", "loss", "loss", "loss"]);
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().values().as_ref(), [5, 4, 4, 5]);
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().values().as_ref(), [0.9, 0.4, 0.3, 0.5]);
    assert_eq!(train.ranges(), [0..1, 1..4]);
}

#[test]
fn value_bits_are_kept() {
    let odd_nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let values = [odd_nan, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 2.0];
    let records: Vec<_> =
        values.iter().enumerate().map(|(i, value)| (0, i as u64, record(0, i as i64, *value))).collect();
    let all = batches(&records);
    let batch = all[0].to_batch(RunId::generate(), writer()).expect("batch");
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(batch.column(5).as_primitive::<Float64Type>().values()), bits(&values));
}

#[test]
fn summaries_of_parts_merge_to_the_summary_of_the_whole() {
    let values = [3.0, f64::NAN, -1.0, f64::INFINITY, 2.0, -1.0, 7.5, 0.0];
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(i, value)| (0, i as u64, record(0, [3, 1, 4, 1, 5, 9, 2, 6][i], *value)))
        .collect();
    let whole = batches(&records)[0].metrics[0].clone();
    assert_eq!((whole.count, whole.non_finite), (8, 2));
    assert_eq!(whole.min, Some(crate::events::Extreme { value: -1.0, step: 4 }));
    assert_eq!(whole.max, Some(crate::events::Extreme { value: 7.5, step: 2 }));
    assert_eq!((whole.first.step, whole.last.step, whole.last.value), (1, 9, -1.0));
    for cut in 1..records.len() {
        let mut merged = batches(&records[..cut])[0].metrics[0].clone();
        merge(&mut merged, &batches(&records[cut..])[0].metrics[0]);
        // NaN differs from itself; compare what was written of both.
        assert_eq!(format!("{merged:?}"), format!("{whole:?}"), "cut at {cut}");
    }
}

#[test]
fn records_without_definition_are_counted() {
    let mut batcher = Batcher::new(3);
    batcher.push(0, 0, &record(3, 0, 1.0));
    assert_eq!((batcher.rows(), batcher.undefined()), (0, 1));
    assert!(batcher.finish(&definitions()).is_empty());
}
