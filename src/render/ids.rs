//! Many task ids in few characters.

use dunlin_node::task::TaskId;

/// `1-5,7,9-10`: runs of consecutive ids are drawn together, in the order given.
pub(crate) fn compact(ids: &[TaskId]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for TaskId(id) in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let show = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(show).collect::<Vec<_>>().join(",")
}
