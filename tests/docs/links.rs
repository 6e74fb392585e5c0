//! Every link and picture of the pages leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{pages, path, read};

/// A page without its blocks and without code in its lines, where nothing is a link.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // A label such as [`Dockerfile`](Dockerfile) stays a link.
            let parts = line.split('`').enumerate();
            prose.extend(parts.map(|(at, part)| if at % 2 == 0 { part } else { "code" }));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of the links and pictures of a page.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let pictures = prose.split("<img src=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    links.chain(pictures).map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page, as code hosts and mdBook make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if is_code || heading == line || !heading.starts_with(' ') {
            continue;
        }
        let kept =
            heading.trim().chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
        anchors.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
    }
    anchors
}

/// The path of a link on a page, from the root of the repository.
fn resolve(page: &str, target: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in Path::new(page).parent().unwrap().join(target).components() {
        match part {
            Component::ParentDir => assert!(resolved.pop(), "{page}: {target} leaves the repository"),
            part => resolved.push(part),
        }
    }
    resolved
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let texts: BTreeMap<_, _> = [pages(), vec!["CHANGELOG.md".to_owned()]]
        .concat()
        .into_iter()
        .map(|page| (page.clone(), read(&page)))
        .collect();
    let mut wrong = Vec::new();
    let mut links = 0;
    for (page, text) in &texts {
        for target in targets(text) {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { PathBuf::from(page) } else { resolve(page, file) };
            let file_name = file.to_str().unwrap();
            if !path(file_name).exists() {
                wrong.push(format!("{page}: {target} is not there"));
            } else if page.starts_with("docs/") && path(file_name).is_dir() {
                // The site has no pages for folders.
                wrong.push(format!("{page}: {target} is a folder"));
            } else if !anchor.is_empty()
                && !texts.get(file_name).is_some_and(|text| anchors(text).contains(anchor))
            {
                wrong.push(format!("{page}: {target} has no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(links > 50, "{links} links");
}

#[test]
fn the_contents_of_the_book_are_all_pages() {
    let listed: BTreeSet<_> = targets(&read("docs/SUMMARY.md"))
        .iter()
        .map(|target| resolve("docs/SUMMARY.md", target).to_str().unwrap().to_owned())
        .collect();
    let pages = pages().into_iter().filter(|page| page != "docs/SUMMARY.md");
    // The commands of the page about fuzzing take hours, so it is not among those that are tested.
    let expected: BTreeSet<_> = pages.chain(["CHANGELOG.md", "fuzz/README.md"].map(str::to_owned)).collect();
    assert_eq!(listed, expected);
}
