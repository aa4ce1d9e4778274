//! Reads Rust as a person skims it, for the rules of `tidy.rs`.
//!
//! A file's text enters; its code without comments and strings leaves, and the names that it names. Deliberately not a
//! parser: no macro is expanded and nothing is resolved.

/// The code alone: comments and the insides of strings become spaces, lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip_at(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; `at` itself if none begins there.
fn skip_at(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, |c| c == '\n'),
        '/' if next == Some('*') => end_of_comment(chars, at),
        '"' => end_of_string(chars, at),
        'r' if !continues_word(chars, at) => end_of_raw_string(chars, at).unwrap_or(at),
        'b' if next == Some('r') && !continues_word(chars, at) => end_of_raw_string(chars, at + 1).unwrap_or(at),
        '\'' if next == Some('\\') => find(chars, at + 3, |c| c == '\'') + 1,
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|i| wanted(chars[*i])).unwrap_or(chars.len())
}

fn continues_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn end_of_raw_string(chars: &[char], r: usize) -> Option<usize> {
    let quote = find(chars, r + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', quote - r - 1)).collect();
    (quote + 1..chars.len()).find(|i| chars[*i..].starts_with(&closing)).map(|i| i + closing.len())
}

/// Code without what only tests (or, with `features`, optional features) compile: each such item becomes empty lines.
pub(crate) fn without_tests(code: &str, features: bool) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(") {
        let at = from + found;
        let head = &out[at..at + out[at..].find(']').map_or(0, |i| i + 1)];
        from = at + 6;
        if head.contains("not(") || !(words(head).any(|(_, w)| w == "test") || (features && head.contains("feature"))) {
            continue;
        }
        let end = end_of_item(&out, at + head.len());
        let blank: String = out[at..end].chars().filter(|c| *c == '\n').collect();
        out.replace_range(at..end, &blank);
        from = at;
    }
    out
}

/// Where the item ends that begins at `from`: at its closing brace, or at a semicolon before any brace.
fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (i, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return from + i + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + i + 1,
            _ => {}
        }
    }
    code.len()
}

/// Every word of the code with the place where it begins.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c: char| !is_word(c)).filter(|w| !w.is_empty()).map(|w| (w.as_ptr() as usize - code.as_ptr() as usize, w))
}

pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// The first names below the crate's root that the code names, as `crate::name` or in `crate::{name, name::…}`.
pub(crate) fn house_names(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (at, _) in words(code).filter(|(_, w)| *w == "crate") {
        let Some(rest) = code[at + 5..].trim_start().strip_prefix("::") else { continue };
        let rest = rest.trim_start();
        let line = line_of(code, at);
        match rest.strip_prefix('{') {
            Some(list) => names.extend(first_level(list).into_iter().map(|name| (line, name))),
            None => names.extend(words(rest).next().map(|(_, w)| (line, w.to_owned()))),
        }
    }
    names
}

/// The first word of each item of a `{…}` list whose opening brace is already read.
fn first_level(list: &str) -> Vec<String> {
    let (mut names, mut depth, mut item) = (Vec::new(), 1_usize, String::new());
    for c in list.chars() {
        depth = depth + usize::from(c == '{') - usize::from(c == '}');
        if depth == 0 || (depth == 1 && c == ',') {
            names.extend(words(&item).next().map(|(_, w)| w.to_owned()));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names
}
