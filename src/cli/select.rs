//! Which tasks: `7`, `last`, `all`, `1-5`, `1,3`, `1-3,7`.

use dunlin_node::api::TaskSelector;
use dunlin_node::task::TaskId;

/// The most tasks that a mixed list may name; a single range may be longer.
const MAX_IDS: u64 = 10_000;

/// Reads a selector from the words of a command line.
///
/// # Errors
/// In words: which part is wrong and what is possible.
pub(super) fn selector(words: &[String]) -> Result<TaskSelector, String> {
    let parts: Vec<&str> = words.iter().flat_map(|word| word.split(',')).map(str::trim).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [] => Err("no task is named; give ids (7, 1-5, 1,3), `last` or `all`".to_owned()),
        ["last"] => Ok(TaskSelector::Last),
        ["all"] => Ok(TaskSelector::All),
        [one] => match range(one)? {
            (first, last) if first == last => Ok(TaskSelector::Ids(vec![TaskId(first)])),
            (first, last) => Ok(TaskSelector::Range(TaskId(first), TaskId(last))),
        },
        _ => listed(&parts),
    }
}

fn listed(parts: &[&str]) -> Result<TaskSelector, String> {
    let mut ids = Vec::new();
    for part in parts {
        if matches!(*part, "last" | "all") {
            return Err(format!("`{part}` stands alone; it can't be mixed with ids"));
        }
        let (first, last) = range(part)?;
        if last - first >= MAX_IDS || ids.len() as u64 + (last - first) >= MAX_IDS {
            return Err(format!("the list names more than {MAX_IDS} tasks; give one range alone, such as 1-50000"));
        }
        ids.extend((first..=last).map(TaskId));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(TaskSelector::Ids(ids))
}

/// `5` or `1-5`.
pub(super) fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is neither an id (7), a range (1-5), `last` nor `all`");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last { Err(format!("the range {text} runs backwards; write {last}-{first}")) } else { Ok((first, last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<TaskSelector, String> {
        selector(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn ids(ids: &[u64]) -> Result<TaskSelector, String> {
        Ok(TaskSelector::Ids(ids.iter().copied().map(TaskId).collect()))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("7"), ids(&[7]));
        assert_eq!(read("1,3"), ids(&[1, 3]));
        assert_eq!(read("3 1"), ids(&[1, 3]));
        assert_eq!(read("1-3,2,7"), ids(&[1, 2, 3, 7]));
        assert_eq!(read("1-50000"), Ok(TaskSelector::Range(TaskId(1), TaskId(50_000))));
        assert_eq!(read("last"), Ok(TaskSelector::Last));
        assert_eq!(read("all"), Ok(TaskSelector::All));
    }

    #[test]
    fn mistakes_say_what_is_possible() {
        assert!(read("").unwrap_err().contains("no task is named"));
        assert!(read("x").unwrap_err().contains("is neither an id"));
        assert!(read("5-1").unwrap_err().contains("write 1-5"));
        assert!(read("all,1").unwrap_err().contains("stands alone"));
        assert!(read("1-9999999999999,3").unwrap_err().contains("more than 10000"));
        assert!(read("-1").unwrap_err().contains("is neither an id"));
    }
}
