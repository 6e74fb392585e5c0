//! A list of targets in the JSON of Prometheus' `file_sd` and `http_sd`: `[{"targets": ["host:6379"], "labels": {...}}]`
//! ("Writing HTTP service discovery" in its documentation).
//!
//! There is no `${NAME}` here: the text of a list is the text of its writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

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

/// The targets in a text that comes from `path`, a file or the URL of a server.
pub(in crate::config) fn parse(path: &Path, content: String) -> Result<Vec<Target>, ConfigProblem> {
    let text = Text::new(path, content);
    let shape = || Place::File(text.clone(), 0..0).problem(SHAPE);
    let Some(Value { kind: Typed::List(groups), .. }) = django::json(&text, "")? else { return Err(shape()) };
    let mut all = Vec::new();
    for group in groups {
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
            all.push(Target { address, place: target.place, labels: labels.clone() });
        }
    }
    Ok(all)
}
