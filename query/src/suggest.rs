//! The name a user may have meant.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// Characters that may differ, of every three.
const WRONG_OF_THREE: usize = 1;

/// The candidate nearest to `name`, when one is near enough to be a slip of the hand.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() * WRONG_OF_THREE).div_ceil(3);
    candidates
        .map(|candidate| (distance(&wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Edits between `wanted` and the candidate, with or without its table.
fn distance(wanted: &str, candidate: &str) -> usize {
    let candidate = candidate.to_lowercase();
    let bare = candidate.rsplit_once('.').map_or(candidate.as_str(), |(_, column)| column);
    levenshtein(wanted, &candidate).min(levenshtein(wanted, bare))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_mended_and_another_word_is_not() {
        let names = ["run_id", "value", "m.step"];
        assert_eq!(nearest("valeu", names.into_iter()).as_deref(), Some("value"));
        assert_eq!(nearest("RUNID", names.into_iter()).as_deref(), Some("run_id"));
        assert_eq!(nearest("setp", names.into_iter()).as_deref(), Some("m.step"));
        assert_eq!(nearest("loss", names.into_iter()), None);
    }
}
