//! The same lines twice: a script's `both RULE...` makes two scenes of what follows it, one with all rules and one without these.
//!
//! What is done is the same in both, word for word; only what is expected and told may differ, on lines that begin with `with:` or
//! `without:`. So nothing but the rule can be the reason why the second scene ends badly.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// A `both`: its line, its rules, the lines that follow it.
type Block = (usize, String, Vec<(usize, String)>);

/// A script's lines, each with its number, after every `both` was written out.
pub(super) fn unfold(script: &str) -> Result<Vec<(usize, String)>, (usize, String)> {
    let mut lines = Vec::new();
    let mut block: Option<Block> = None;
    for (place, text) in script.lines().enumerate() {
        let (number, text) = (place + 1, text.trim());
        let rules = text.strip_prefix("both ");
        if rules.is_some() || text.starts_with("scene ") {
            close(block.take(), &mut lines)?;
        }
        match (rules, &mut block) {
            (Some(rules), _) => block = Some((number, rules.trim().to_string(), Vec::new())),
            (None, Some((_, _, inside))) => inside.push((number, text.to_string())),
            (None, None) => lines.push((number, text.to_string())),
        }
    }
    close(block, &mut lines)?;
    Ok(lines)
}

fn close(block: Option<Block>, lines: &mut Vec<(usize, String)>) -> Result<(), (usize, String)> {
    let Some((number, rules, inside)) = block else { return Ok(()) };
    for (kept, dropped) in [("with:", "without:"), ("without:", "with:")] {
        if kept == "with:" {
            lines.push((number, String::from("scene With all rules")));
        } else {
            lines.push((number, format!("scene Without {rules}")));
            lines.push((number, format!("without {rules}")));
        }
        for (number, text) in &inside {
            let own = text.strip_prefix(kept).map(str::trim);
            if own.is_some_and(|own| !own.starts_with('#') && !own.starts_with("expect ")) {
                return Err((*number, String::from("only prose and expectations may differ between the two scenes")));
            }
            if !text.starts_with(dropped) {
                lines.push((*number, own.map_or_else(|| text.clone(), ToString::to_string)));
            }
        }
    }
    Ok(())
}
