//! The judgment of a whole run, and the words for it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::time::{Duration, SystemTime};

use crate::answers::ALL;
use crate::callers::{Answer, CONTROL};
use crate::judge::{Attempt, Bounds, Node, ROOM, Said, Status, Time, Unsettled, Verdict, Window};
use crate::plan::Kind;

/// The deadline of a check: the product's default.
const TIMEOUT: Duration = Duration::from_millis(750);

/// An eighth of the deadline, which a sidecar that was held up has more, and the way of the answer.
const GRACE: Duration = Duration::from_millis(110);

/// How often an answer about many caches waits for the machine, in answers of the control.
const STEPS: u32 = 4;

/// The longest that an answer of the control may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(5);

/// The share of the answers about each alias that must be decided at least, in percent, and their number. On an idle
/// machine three in four are decided.
const DECIDED: usize = 10;
const DECIDED_ANSWERS: usize = 50;

/// How many wrong answers about an alias are told in full, and how many events before each.
const TOLD: usize = 3;
const EVENTS_TOLD: usize = 12;

/// How far from an answer the attempts are told.
const AROUND: Duration = Duration::from_millis(400);

/// An event as it happened.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) alias: &'static str,
    pub(crate) kind: Kind,
    pub(crate) server: usize,
    /// From the beginning of making it, until it was made, until its end began, until all had settled.
    pub(crate) begin: Time,
    pub(crate) made: Time,
    pub(crate) end: Time,
    pub(crate) settled: Time,
}

/// Everything that is known of an alias.
pub(crate) struct History {
    pub(crate) alias: &'static str,
    pub(crate) nodes: Vec<Node>,
    pub(crate) unsettled: Vec<Unsettled>,
}

/// A run that is over.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) lasted: Duration,
    pub(crate) histories: Vec<History>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) events: Vec<Happened>,
    /// The time of day at its beginning, and the sidecar's log.
    pub(crate) began_at: SystemTime,
    pub(crate) log: String,
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    judged: usize,
    undecided: usize,
    /// Decided ones, about an alias that worked, and about one that did not.
    at_work: usize,
    at_fault: usize,
    false_up: usize,
    false_down: usize,
    late: usize,
    unread: usize,
    /// The judged and the undecided of each alias.
    aliases: BTreeMap<String, (usize, usize)>,
    /// Answered requests by their caller.
    answers: BTreeMap<&'static str, usize>,
    slowest: Duration,
    slowest_control: Duration,
}

impl Run {
    /// Judges every answer; `tell` gets what is wrong.
    pub(crate) fn judge(&self, mut tell: impl FnMut(String)) -> Counts {
        let controls: Vec<&Answer> = self.answers.iter().filter(|answer| answer.caller == CONTROL).collect();
        let mut counts = Counts::default();
        for answer in &self.answers {
            *counts.answers.entry(answer.caller).or_default() += 1;
            let took = answer.took();
            let lag = lag(&controls, answer);
            let limit = if answer.caller == CONTROL { CONTROL_LIMIT } else { TIMEOUT + GRACE + STEPS * lag };
            if answer.has_deadline && took > limit {
                counts.late += 1;
                tell(format!(
                    "late: {} was answered after {took:?}, and the limit was {limit:?}\n{}",
                    answer.caller,
                    self.about(answer)
                ));
            }
            if answer.caller == CONTROL {
                counts.slowest_control = counts.slowest_control.max(took);
            } else if answer.has_deadline {
                counts.slowest = counts.slowest.max(took);
            }
            match &answer.said {
                Err(error) => {
                    counts.unread += 1;
                    tell(format!("no answer: {} was told {error}\n{}", answer.caller, self.about(answer)));
                }
                Ok(_) if answer.caller == CONTROL => (),
                Ok(said) => self.judge_said(answer, lag, said, &mut counts, &mut tell),
            }
        }
        counts
    }

    fn judge_said(
        &self,
        answer: &Answer,
        lag: Duration,
        said: &[(String, Said)],
        counts: &mut Counts,
        tell: &mut impl FnMut(String),
    ) {
        let window = Window { asked: answer.asked, answered: answer.answered, lag };
        let histories = self.histories.iter();
        let bounds: Vec<Bounds> =
            histories.map(|history| Bounds::of(&history.nodes, &history.unsettled, window)).collect();
        for (alias, said) in said {
            let bounds = if alias == ALL {
                Bounds::together(bounds.iter().copied())
            } else {
                let known = self.histories.iter().position(|history| history.alias == alias);
                bounds[known.expect("an alias of the run")]
            };
            counts.judged += 1;
            let of_alias = counts.aliases.entry(alias.clone()).or_default();
            of_alias.0 += 1;
            counts.at_work += usize::from(bounds.worst == Status::Up);
            counts.at_fault += usize::from(bounds.best > Status::Up);
            let word = match bounds.judge(*said) {
                Verdict::Right => continue,
                Verdict::Undecided => {
                    counts.undecided += 1;
                    of_alias.1 += 1;
                    continue;
                }
                Verdict::FalseUp => {
                    counts.false_up += 1;
                    "false UP"
                }
                Verdict::FalseDown => {
                    counts.false_down += 1;
                    "false DOWN"
                }
            };
            let (alias, tried) = match self.histories.iter().find(|history| history.alias == alias) {
                Some(history) => (history.alias, history.tried(answer)),
                None => ("everything", String::new()),
            };
            tell(format!(
                "{word}: {alias} was said to be {said:?}, and it was {bounds:?}\n{}{tried}",
                self.about(answer)
            ));
        }
    }

    /// The answer and the last events before its end.
    fn about(&self, answer: &Answer) -> String {
        let Answer { caller, asked, answered, .. } = answer;
        let mut lines =
            format!("  {caller} asked at {} and was answered at {}\n", seconds(*asked), seconds(*answered));
        let before: Vec<_> = self.events.iter().filter(|event| event.begin <= *answered).collect();
        for event in &before[before.len().saturating_sub(EVENTS_TOLD)..] {
            let _ = writeln!(lines, "  {event}");
        }
        lines
    }

    /// Prints the summary, and panics if anything was wrong.
    pub(crate) fn conclude(&self) {
        let mut told = BTreeMap::<String, usize>::new();
        let counts = self.judge(|wrong| {
            let kind = wrong.split(" was ").next().unwrap_or_default().to_owned();
            let count = told.entry(kind).or_default();
            *count += 1;
            if *count <= TOLD {
                println!("{wrong}");
            }
        });
        let mut kinds = BTreeMap::<Kind, usize>::new();
        for event in &self.events {
            *kinds.entry(event.kind).or_default() += 1;
        }
        println!("chaos: judged and undecided by alias {:?}", counts.aliases);
        println!("chaos: answers by caller {:?}", counts.answers);
        println!(
            "chaos: slowest answer {:.0?}, slowest control {:.0?}",
            counts.slowest, counts.slowest_control
        );
        println!(
            "chaos: seed {}, {} s, {} answers judged ({} at work, {} at fault, {} undecided), false UP {}, false DOWN {}, late {}, unread {}, \
             events {} {kinds:?}",
            self.seed,
            self.lasted.as_secs(),
            counts.judged,
            counts.at_work,
            counts.at_fault,
            counts.undecided,
            counts.false_up,
            counts.false_down,
            counts.late,
            counts.unread,
            self.events.len()
        );
        let wrong = counts.false_up + counts.false_down + counts.late + counts.unread;
        if wrong > 0 {
            let file = format!("{}/chaos-{}.log", env!("CARGO_TARGET_TMPDIR"), self.seed);
            fs::write(&file, &self.log).expect("to write");
            let began_at = humantime::format_rfc3339_millis(self.began_at);
            println!("the sidecar's log is in {file}; 0 s was at {began_at}");
        }
        assert_eq!(
            wrong, 0,
            "seed {}: wrong answers, see above; CHAOS_SEED={0} makes the same plan",
            self.seed
        );
        assert!(counts.answers.len() > 14, "a caller had no answer: {:?}", counts.answers);
        let enough = counts.at_work.min(counts.at_fault) >= DECIDED_ANSWERS;
        assert!(enough, "seed {}: too few answers were decided", self.seed);
        for (alias, (judged, undecided)) in &counts.aliases {
            let decided = judged - undecided;
            let enough = decided >= DECIDED_ANSWERS && decided * 100 >= judged * DECIDED;
            assert!(enough, "seed {}: {decided} of {judged} answers about {alias:?} were decided", self.seed);
        }
    }
}

impl History {
    /// The attempts at each node around an answer.
    fn tried(&self, answer: &Answer) -> String {
        let (from, to) = (answer.asked.saturating_sub(AROUND), answer.answered + AROUND);
        let mut lines = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let attempts = node.writers.iter().flatten();
            let mut around: Vec<&Attempt> =
                attempts.filter(|attempt| attempt.end >= from && attempt.start <= to).collect();
            around.sort_by_key(|attempt| attempt.start);
            let _ = write!(lines, "  node {number}:");
            for Attempt { start, end, outcome } in around {
                let _ = write!(lines, " {:.3}-{:.3} {outcome:?}", start.as_secs_f64(), end.as_secs_f64());
            }
            lines.push('\n');
        }
        lines
    }
}

/// What the slowest control took while the answer and the attempts after it were made.
fn lag(controls: &[&Answer], answer: &Answer) -> Duration {
    let first = controls.partition_point(|control| control.answered < answer.asked);
    let overlapping = controls[first..].iter().take_while(|control| control.asked <= answer.answered + ROOM);
    overlapping.map(|control| control.took()).max().unwrap_or_default()
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alias, kind, server, begin, made, end, settled } = self;
        let [begin, made, end, settled] = [begin, made, end, settled].map(|time| seconds(*time));
        write!(
            f,
            "{alias}: {kind} of server {server} from {begin} to {made}, its end from {end} to {settled}"
        )
    }
}

fn seconds(time: Time) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
