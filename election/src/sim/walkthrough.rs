//! The walkthrough's pages, made of the scripts: prose, transcript, diagram.

use std::format;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use super::script::{Part, Story, run};

/// A script by its file's name, without the extension.
#[derive(Clone, Debug)]
pub struct Page {
    /// The name, as `01-two-zeros`.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// The page in Markdown.
    pub markdown: String,
    /// Only what happened: the golden transcript.
    pub transcript: String,
}

/// Runs all scripts of a folder, in the order of their names.
///
/// # Errors
/// A file that can't be read, or a script that does not run to its end, in words.
pub fn pages(scripts: &Path) -> Result<Vec<Page>, String> {
    let entries = std::fs::read_dir(scripts).map_err(|error| format!("{}: {error}", scripts.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "script"));
    files.sort();
    files.iter().map(|file| page(file)).collect()
}

fn page(file: &Path) -> Result<Page, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let story = run(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = file.file_stem().map(|stem| String::from(stem.to_string_lossy())).unwrap_or_default();
    let (markdown, transcript) = (markdown(&name, &story), transcript(&story));
    Ok(Page { name, title: story.title, markdown, transcript })
}

fn markdown(name: &str, story: &Story) -> String {
    let mut text = format!("<!-- Made of election/scripts/{name}.script by scripts/bless: change that file. -->\n");
    text.push_str(&format!("\n# {}\n", story.title));
    for part in &story.parts {
        match part {
            Part::Prose(prose) => text.push_str(&format!("\n{prose}\n")),
            Part::Scene(scene) => text.push_str(&format!("\n## {scene}\n")),
            Part::Transcript(lines) => text.push_str(&format!("\n```text\n{}\n```\n", lines.join("\n"))),
            Part::Diagram(diagram) => text.push_str(&format!("\n```mermaid\n{diagram}```\n")),
        }
    }
    text
}

fn transcript(story: &Story) -> String {
    let mut text = String::new();
    for part in &story.parts {
        match part {
            Part::Scene(scene) => text.push_str(&format!("== {scene}\n")),
            Part::Transcript(lines) => text.push_str(&format!("{}\n", lines.join("\n"))),
            Part::Prose(_) | Part::Diagram(_) => {}
        }
    }
    text
}

/// The page that lists the pages.
#[must_use]
pub fn index(pages: &[Page]) -> String {
    let mut text = String::from(
        "<!-- Made by scripts/bless of the scripts in election/scripts. -->\n\n# The election, story by story\n\n\
         Each page is a run of the real state machine in a small simulated swarm: first with all rules, then with one taken away.\n\
         The transcripts are checked by the tests, so that they can't grow stale; the rules themselves are listed in the\n\
         documentation of the crate `dunlin-election`.\n\n\
         How to read a transcript: the time since the start of the scene, who, what. `--` is what was done to the swarm, `!!` a\n\
         promise that was broken. A node's messages can be seen in the diagram below each scene.\n\n",
    );
    for page in pages {
        text.push_str(&format!("- [{}]({}.md)\n", page.title, page.name));
    }
    text
}

/// The files of the walkthrough: name and content.
#[must_use]
pub fn files(pages: &[Page]) -> Vec<(String, String)> {
    let mut files: Vec<_> = pages.iter().map(|page| (format!("{}.md", page.name), page.markdown.clone())).collect();
    files.push((String::from("README.md"), index(pages)));
    files
}
