//! The documents tell the truth: paths exist, examples can be used.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::support::command;
use crate::support::program::executable;

/// The folders whose paths are checked wherever a document names them.
const FOLDERS: [&str; 8] = [
    "crates/",
    "tests/",
    "bench/",
    "fuzz/",
    "examples/",
    "docs/",
    "scripts/",
    ".ci/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file of ours with its text.
fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut documents = Vec::new();
    for folder in [root(), root().join("docs"), root().join("docs/guide")] {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path)?;
                documents.push((path, text));
            }
        }
    }
    Ok(documents)
}

/// What stands between each pair of backticks, and each link target.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let spans = text.split('`').skip(1).step_by(2);
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    spans.chain(links)
}

#[test]
fn every_path_in_a_document_exists() -> Result<()> {
    let mut checked = 0;
    for (document, text) in documents()? {
        let folder = document.parent().context("a document is in a folder")?;
        for reference in references(&text) {
            let is_link = reference.ends_with(".md") && !reference.contains("://");
            let is_path = FOLDERS.iter().any(|prefix| reference.starts_with(prefix));
            let is_one_word = !reference.contains([' ', '<', '*', '\n', '…']);
            if (is_link || is_path) && is_one_word {
                let found = folder.join(reference).exists() || root().join(reference).exists();
                assert!(found, "{} names {reference}", document.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} paths found");
    Ok(())
}

#[test]
fn every_configuration_example_can_be_used() -> Result<()> {
    let directory = TempDir::new()?;
    let mut checked = 0;
    for (document, text) in documents()? {
        for example in text.split("```yaml\n").skip(1) {
            let example = example.split("```").next().unwrap_or_default();
            let file = directory.path().join("example.yml");
            std::fs::write(&file, example)?;
            // `check` would look for the files that the examples name.
            let arguments = [
                "config",
                "print",
                "--strict-config",
                "--config",
                &file.to_string_lossy(),
            ];
            command::run(
                directory.path(),
                &executable().to_string_lossy(),
                &arguments,
            )
            .with_context(|| format!("{}:\n{example}", document.display()))?;
            checked += 1;
        }
    }
    assert!(checked > 0, "no example found");
    Ok(())
}
