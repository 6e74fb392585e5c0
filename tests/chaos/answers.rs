//! The statuses in an answer, whatever its representation.

use serde_json::Value;

use crate::judge::Said;

/// The representation of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    HealthJson,
    Text,
    Kubernetes,
    Metrics,
    Page,
    /// The status code alone.
    Code,
    Grpc,
}

/// The name of everything together.
pub(crate) const ALL: &str = "";

/// The statuses by their alias. An error is an answer that cannot be read.
pub(crate) fn read(format: Format, code: u16, body: &[u8]) -> Result<Vec<(String, Said)>, String> {
    let text = String::from_utf8_lossy(body);
    let said = match format {
        Format::Json => json(&text),
        Format::HealthJson => health_json(&text),
        Format::Text => Some(text.lines().skip(1).filter_map(text_line).collect()),
        Format::Kubernetes => Some(text.lines().filter_map(kubernetes_line).collect()),
        Format::Metrics => Some(text.lines().filter_map(metric).collect()),
        Format::Page => Some(text.split("<h3>").skip(1).filter_map(page_entry).collect()),
        Format::Code => Some(Vec::new()),
        Format::Grpc => return grpc(body).map(|said| vec![(ALL.to_owned(), said)]),
    };
    let of_code = match (format, code) {
        (Format::Metrics | Format::Page, 200) => None,
        (_, 200) => Some(Said::NOT_DOWN),
        (_, 503) => Some(Said::DOWN),
        _ => return Err(format!("{code}: {text}")),
    };
    let mut said: Vec<(String, Said)> = said.ok_or_else(|| format!("{code}: {text}"))?;
    said.extend(of_code.map(|of_code| (ALL.to_owned(), of_code)));
    Ok(said)
}

fn status(word: &str) -> Option<Said> {
    match word.to_ascii_lowercase().as_str() {
        "up" | "pass" => Some(Said::UP),
        "degraded" | "warn" => Some(Said::DEGRADED),
        "down" | "fail" => Some(Said::DOWN),
        _ => None,
    }
}

fn json(text: &str) -> Option<Vec<(String, Said)>> {
    let body: Value = serde_json::from_str(text).ok()?;
    let checks = body["checks"].as_object()?.iter();
    let mut said: Vec<_> = checks
        .map(|(name, word)| Some((name.strip_prefix("cache.")?.to_owned(), status(word.as_str()?)?)))
        .collect::<Option<_>>()?;
    said.push((ALL.to_owned(), status(body["status"].as_str()?)?));
    Some(said)
}

/// The format has a status for each node, and none for an alias.
fn health_json(text: &str) -> Option<Vec<(String, Said)>> {
    let body: Value = serde_json::from_str(text).ok()?;
    let mut all = vec![(ALL.to_owned(), status(body["status"].as_str()?)?)];
    for (name, nodes) in body["checks"].as_object()? {
        let mut alias = Said::UP;
        for node in nodes.as_array()?.iter().filter(|node| node["status"] != "pass") {
            let of_node = match node["role"].as_str()? {
                "replica" => Said::DEGRADED,
                // A few Sentinels may be lost.
                "sentinel" => Said::NOT_DOWN,
                _ => Said::DOWN,
            };
            alias = Said { best: alias.best.max(of_node.best), worst: alias.worst.max(of_node.worst) };
        }
        all.push((name.strip_suffix(":roundTrip")?.to_owned(), alias));
    }
    Some(all)
}

/// `main  UP  since ...`
fn text_line(line: &str) -> Option<(String, Said)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), status(words.next()?)?))
}

/// `[+]cache.main ok`, `[+]cache.main ok: degraded`, `[-]cache.main failed: refused`
fn kubernetes_line(line: &str) -> Option<(String, Said)> {
    let (alias, word) = line.get(3..)?.strip_prefix("cache.")?.split_once(' ')?;
    let said = match word {
        "ok" => Said::UP,
        _ if word.starts_with("ok: degraded") => Said::DEGRADED,
        _ if word.starts_with("failed") => Said::DOWN,
        _ => return None,
    };
    Some((alias.to_owned(), said))
}

/// `cache_status{alias="main",check="round_trip",status="up"} 1`
fn metric(line: &str) -> Option<(String, Said)> {
    let labels = line.strip_prefix("cache_status{alias=\"")?.strip_suffix("\"} 1")?;
    let (alias, word) = labels.split_once("\",check=\"round_trip\",status=\"")?;
    Some((alias.to_owned(), status(word)?))
}

/// `main</h3> <span class="word">down</span>`
fn page_entry(entry: &str) -> Option<(String, Said)> {
    let (alias, rest) = entry.split_once("</h3>")?;
    let (_, word) = rest.split_once("<span class=\"word\">")?;
    Some((alias.to_owned(), status(word.split('<').next()?)?))
}

/// A frame with a message whose first field is the status.
fn grpc(body: &[u8]) -> Result<Said, String> {
    match body {
        [0, 0, 0, 0, 2, 8, 1] => Ok(Said::NOT_DOWN),
        [0, 0, 0, 0, 2, 8, 2] => Ok(Said::DOWN),
        other => Err(format!("not a status of gRPC: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each format tells of three aliases: one up, one degraded, one down.
    #[test]
    fn every_format_tells_up_degraded_and_down_apart() {
        let expected = [("a", Said::UP), ("b", Said::DEGRADED), ("c", Said::DOWN)];
        let node = |role, status| format!("{{\"role\":\"{role}\",\"status\":\"{status}\"}}");
        let health_json = format!(
            "{{\"status\":\"fail\",\"checks\":{{\"a:roundTrip\":[{0}],\"b:roundTrip\":[{0},{1}],\"c:roundTrip\":[{2}]}}}}",
            node("server", "pass"),
            node("replica", "fail"),
            node("server", "fail")
        );
        let series = |alias, status, value| {
            format!("cache_status{{alias=\"{alias}\",check=\"round_trip\",status=\"{status}\"}} {value}\n")
        };
        let metrics =
            [("a", "up", 1), ("a", "down", 0), ("b", "degraded", 1), ("c", "up", 0), ("c", "down", 1)];
        let metrics: String = metrics.map(|(alias, status, value)| series(alias, status, value)).concat();
        let entry = |(alias, word)| format!("<h3>{alias}</h3><span class=\"word\">{word}</span>");
        let page = [("a", "up"), ("b", "degraded"), ("c", "down")].map(entry).concat();
        for (format, code, body) in [
            (
                Format::Json,
                503,
                "{\"status\":\"DOWN\",\"checks\":{\"cache.a\":\"UP\",\"cache.b\":\"DEGRADED\",\"cache.c\":\"DOWN\"}}",
            ),
            (Format::HealthJson, 503, &health_json),
            (Format::Text, 503, "DOWN\na  UP  since\nb  DEGRADED  since\nc  DOWN  since\nchecked 1 ms ago\n"),
            (
                Format::Kubernetes,
                503,
                "[+]sidecar ok\n[+]cache.a ok\n[+]cache.b ok: degraded\n[-]cache.c failed: refused\n",
            ),
            (Format::Metrics, 200, &metrics),
            (Format::Page, 200, &page),
        ] {
            let mut said = read(format, code, body.as_bytes()).expect("an answer");
            assert!(said.iter().all(|(alias, said)| alias != ALL || *said == Said::DOWN), "{said:?}");
            said.retain(|(alias, _)| alias != ALL);
            assert_eq!(said, expected.map(|(alias, said)| (alias.to_owned(), said)), "{format:?}");
        }
    }

    #[test]
    fn a_code_a_grpc_status_and_an_answer_that_cannot_be_read() {
        assert_eq!(read(Format::Code, 200, b"ok").unwrap(), [(ALL.to_owned(), Said::NOT_DOWN)]);
        assert_eq!(read(Format::Code, 503, b"").unwrap(), [(ALL.to_owned(), Said::DOWN)]);
        assert_eq!(
            read(Format::Grpc, 200, &[0, 0, 0, 0, 2, 8, 1]).unwrap(),
            [(ALL.to_owned(), Said::NOT_DOWN)]
        );
        assert!(read(Format::Code, 500, b"").is_err());
        assert!(read(Format::Json, 200, b"{}").is_err());
        assert!(read(Format::Grpc, 200, b"").is_err());
    }
}
