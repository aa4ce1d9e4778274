//! Makes a filter shorter: all of its ends that say the same become one.
//!
//! In comes a program of loads, forward jumps and returns, out comes one that answers the same. The kernel translates a
//! filter for each task that takes it on, which costs time for each instruction. Pure.

use super::{Instruction, LOAD, RETURN, give};

/// The longest way that a jump can say.
const FARTHEST: usize = 255;

/// The same program, with one return for each answer, at its end. As it was if that would be too far for a jump.
pub(super) fn shared(program: Vec<Instruction>) -> Vec<Instruction> {
    let mut answers: Vec<u32> = Vec::new();
    for end in program.iter().filter(|one| one.code == RETURN) {
        if !answers.contains(&end.operand) {
            answers.push(end.operand);
        }
    }
    let length = program.len();
    // Where something that leads to `at` leads to now: returns stand behind everything else.
    let shared_end = |at: usize| {
        let end = program.get(at).filter(|one| one.code == RETURN)?;
        Some(length + answers.iter().position(|answer| *answer == end.operand)?)
    };
    let kept: Vec<usize> = reached(&program).into_iter().filter(|at| program[*at].code != RETURN).collect();
    let place = |at: usize| match shared_end(at) {
        Some(end) => Some(kept.len() + end - length),
        None => kept.binary_search(&at).ok(),
    };
    let moved = |new: usize, old: usize| {
        let one = program[old];
        if one.code == LOAD {
            return (place(old + 1)? == new + 1).then_some(one);
        }
        let way = |over: u8| {
            let way = place(old + 1 + usize::from(over))?.checked_sub(new + 1)?;
            u8::try_from(way).ok().filter(|_| way <= FARTHEST)
        };
        Some(Instruction { if_true: way(one.if_true)?, if_false: way(one.if_false)?, ..one })
    };
    let short: Option<Vec<Instruction>> = kept.iter().enumerate().map(|(new, old)| moved(new, *old)).collect();
    match short {
        Some(mut short) => {
            short.extend(answers.into_iter().map(give));
            short
        }
        None => program,
    }
}

/// What can be reached from the beginning, in order. Jumps only lead forward.
fn reached(program: &[Instruction]) -> Vec<usize> {
    let mut marked = vec![false; program.len()];
    let mark = |marked: &mut Vec<bool>, at: usize| {
        if let Some(one) = marked.get_mut(at) {
            *one = true;
        }
    };
    mark(&mut marked, 0);
    for (at, one) in program.iter().enumerate() {
        if !marked[at] || one.code == RETURN {
            continue;
        }
        if one.code == LOAD {
            mark(&mut marked, at + 1);
        } else {
            mark(&mut marked, at + 1 + usize::from(one.if_true));
            mark(&mut marked, at + 1 + usize::from(one.if_false));
        }
    }
    (0..program.len()).filter(|at| marked[*at]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ALLOW, JUMP_IF_EQUAL, REFUSED, jump, load};
    use super::*;

    #[test]
    fn ends_that_say_the_same_are_one() {
        let long = vec![
            load(0),
            jump(JUMP_IF_EQUAL, 7, 0, 1),
            give(REFUSED),
            jump(JUMP_IF_EQUAL, 8, 0, 1),
            give(REFUSED),
            give(ALLOW),
            give(ALLOW), // Nothing leads here.
        ];
        let short = [load(0), jump(JUMP_IF_EQUAL, 7, 1, 0), jump(JUMP_IF_EQUAL, 8, 0, 1), give(REFUSED), give(ALLOW)];
        assert_eq!(shared(long), short);
    }

    #[test]
    fn what_would_be_too_far_stays_as_it_is() {
        let mut long = vec![load(0)];
        long.extend((0..300).flat_map(|n| [jump(JUMP_IF_EQUAL, n, 0, 1), give(REFUSED)]));
        long.push(give(ALLOW));
        assert_eq!(shared(long.clone()), long);
    }
}
