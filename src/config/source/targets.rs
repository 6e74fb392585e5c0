//! A list of targets in the JSON of Prometheus' `file_sd` and `http_sd`: `[{"targets": ["host:6379"], "labels": {...}}]`
//! ("Writing HTTP service discovery" in its documentation).
//!
//! There is no `${NAME}` here: the text of a list is the text of its writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde_json::value::RawValue;

use super::django;
use crate::config::place::{ConfigProblem, Place, Text};
use crate::config::value::{Value, ValueKind as Typed};

/// The label that is the target's own text, in the words of Prometheus.
pub(in crate::config) const ADDRESS: &str = "__address__";

const SHAPE: &str = "targets must be a JSON list of groups, as in [{\"targets\": [\"redis://host:6379\"], \"labels\": {\"team\": \"a\"}}]";
const NO_TARGETS: &str =
    "this group has no targets; add a list of texts, as in \"targets\": [\"redis://host:6379\"]";

/// One target of a list.
pub(in crate::config) struct Target {
    pub(in crate::config) address: String,
    pub(in crate::config) place: Place,
    /// The labels of its group.
    pub(in crate::config) labels: Rc<BTreeMap<String, String>>,
}

impl Target {
    /// The value of a label, one of which is the target's own text.
    pub(in crate::config) fn label(&self, name: &str) -> Option<&str> {
        if name == ADDRESS { Some(&self.address) } else { self.labels.get(name).map(String::as_str) }
    }
}

/// Takes the targets in a text that comes from `path`, a file or the URL of a server, one after the other. Groups are parsed
/// one at a time: a hundred thousand at once would take twenty times the memory of the text.
pub(in crate::config) fn each(
    path: &Path,
    content: String,
    mut take: impl FnMut(Target),
) -> Result<(), ConfigProblem> {
    let text = Text::new(path, content);
    let Ok(groups) = serde_json::from_str::<Vec<&RawValue>>(&text.content) else {
        return match django::json(&text, "")?.map(|value| value.kind) {
            Some(Typed::List(groups)) => groups.into_iter().try_for_each(|group| of_group(group, &mut take)),
            _ => Err(Place::File(text.clone(), 0..0).problem(SHAPE)),
        };
    };
    let mut hidden = Vec::new();
    let read = groups.into_iter().try_for_each(|group| {
        let start = group.get().as_ptr().addr() - text.content.as_ptr().addr();
        let end = start + group.get().len();
        let read = match django::json_in(&text, start..end, &mut hidden) {
            Ok(Some(group)) => of_group(group, &mut take),
            Ok(None) => Ok(()),
            Err(problem) => Err(problem),
        };
        // Nobody has looked for secrets in the rest.
        read.inspect_err(|_| hidden.push(end..text.content.len()))
    });
    let _ = text.hidden.set(hidden);
    read
}

/// Takes the targets of a group.
fn of_group(group: Value, take: &mut impl FnMut(Target)) -> Result<(), ConfigProblem> {
    let place = group.place.clone();
    let Typed::Table(mut group) = group.kind else { return Err(place.problem(SHAPE)) };
    let mut labels = BTreeMap::new();
    if let Some(value) = group.take("labels") {
        for entry in value.into_table()?.0 {
            let text = entry.value.text()?.to_owned();
            labels.insert(entry.key, text);
        }
    }
    let labels = Rc::new(labels);
    let Some(Value { kind: Typed::List(targets), .. }) = group.take("targets") else {
        return Err(place.problem(NO_TARGETS));
    };
    for target in targets {
        let address = target.text()?.to_owned();
        take(Target { address, place: target.place, labels: labels.clone() });
    }
    Ok(())
}
