//! Links of the pages: every one of them leads to something that is there.

use std::fs;
use std::path::Path;

use super::breach;
use super::code::is_word;

/// Targets of `[…](target)` outside code, with their lines.
fn links_of(page: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (n, line) in page.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            links.extend(line.split("](").skip(1).filter_map(|l| l.split_once(')')).map(|(l, _)| (n + 1, l.to_owned())));
        }
    }
    links
}

pub(super) fn link_breaches(root: &Path, file: &str, page: &str) -> Vec<String> {
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut found = Vec::new();
    for (line, link) in links_of(page).into_iter().filter(|(_, l)| !l.contains("://") && !l.starts_with("mailto:")) {
        let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(p, a)| (p, Some(a)));
        let target = if path.is_empty() { root.join(file) } else { folder.join(path) };
        if !target.exists() {
            found.push(breach(file, line, &format!("the link `{link}` leads nowhere")));
        } else if let (Some(anchor), Ok(text)) = (anchor, fs::read_to_string(&target))
            && !text.lines().filter(|l| l.starts_with('#')).any(|l| slug(l) == anchor)
        {
            found.push(breach(file, line, &format!("no heading for the link `{link}`")));
        }
    }
    found
}

fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.chars().filter(|c| is_word(*c) || " -".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
