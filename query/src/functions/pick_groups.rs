//! As `pick`, for many groups at once and without an allocation per group: keys and payloads are 64-bit codes.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::codes::{decode, encode};
use super::pick::{Rows, Rule};

/// The kept row of each group.
pub(super) struct PickGroups {
    rule: Rule,
    types: [DataType; 2],
    /// Key and payload of each group; `None` until a row counted.
    kept: Vec<Option<(i64, i64)>>,
}

impl PickGroups {
    pub(super) fn boxed(rule: Rule, types: [DataType; 2]) -> Box<dyn GroupsAccumulator> {
        Box::new(Self { rule, types, kept: Vec::new() })
    }

    fn take_rows(&mut self, rows: &Rows, groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.kept.resize(total, None);
        let wanted = self.rule.wanted;
        let (keys, payloads) = (encode(&rows.keys)?, encode(&rows.payloads)?);
        let counting = counting(rows, filter);
        for (row, group) in groups.iter().enumerate() {
            if counting.as_ref().is_some_and(|counting| counting.is_null(row)) {
                continue;
            }
            let (key, payload) = (keys[row], payloads[row]);
            let kept = &mut self.kept[*group];
            let better = kept.is_none_or(|kept| wanted.is_better(key.cmp(&kept.0), || payload.cmp(&kept.1)));
            if better {
                *kept = Some((key, payload));
            }
        }
        Ok(())
    }

    /// Keys and payloads of groups that are handed on.
    fn arrays(&mut self, emit_to: EmitTo) -> Result<[ArrayRef; 2]> {
        let kept = emit_to.take_needed(&mut self.kept);
        let nulls = NullBuffer::from_iter(kept.iter().map(Option::is_some));
        let (keys, payloads) = kept.into_iter().map(Option::unwrap_or_default).unzip();
        let [key_type, payload_type] = &self.types;
        Ok([decode(keys, Some(nulls.clone()), key_type)?, decode(payloads, Some(nulls), payload_type)?])
    }
}

/// Which rows count, null for those that do not; `None` when all do.
fn counting(rows: &Rows, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let both = NullBuffer::union(rows.keys.nulls(), rows.payloads.nulls());
    let passed = filter.map(|filter| {
        let true_bits = NullBuffer::new(filter.values().clone());
        NullBuffer::union(Some(&true_bits), filter.nulls()).unwrap_or(true_bits)
    });
    NullBuffer::union(both.as_ref(), passed.as_ref())
}

impl GroupsAccumulator for PickGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.take_rows(&(self.rule.rows)(values)?, group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let [keys, payloads] = values else { return internal_err!("a pick has two states") };
        let rows = Rows { keys: keys.clone(), payloads: payloads.clone() };
        self.take_rows(&rows, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let [_, payloads] = self.arrays(emit_to)?;
        Ok(payloads)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(self.arrays(emit_to)?.into())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = (self.rule.rows)(values)?;
        let counting = counting(&rows, opt_filter);
        let [key_type, payload_type] = &self.types;
        Ok(vec![
            decode(encode(&rows.keys)?, counting.clone(), key_type)?,
            decode(encode(&rows.payloads)?, counting, payload_type)?,
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.capacity() * size_of::<Option<(i64, i64)>>()
    }
}
