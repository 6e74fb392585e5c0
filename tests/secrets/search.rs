//! The search: marked secrets in every place, every path and error at every log level, and not five characters of one in any output.

use std::fs;
use std::thread;
use std::time::Duration;

use cache_canary::config::{self, Source};

use super::marks::{Marks, in_url, quoted};
use super::outputs::{
    Outputs, ask_everything, ask_for_words, grpc, run_everything, run_in_short, run_in_vain, run_one,
    run_with_its_files,
};
use super::places::{JSON, MISTAKES, VARIABLES, World};
use super::serving::{Environment, Form, Serving};
use super::support::{Authority, Redis, eventually};

const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

#[test]
fn no_output_shows_a_secret_of_a_configuration_at_any_log_level() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let world = World::new(&marks);
    thread::scope(|scope| {
        for form in [Form::Plain, Form::Journal] {
            for level in LEVELS {
                let (world, marks, outputs) = (&world, &marks, &outputs);
                scope.spawn(move || serve_and_reload(world, level, form, marks, outputs));
            }
        }
        scope.spawn(|| {
            for level in ["error", "debug"] {
                let level = ("CACHE_CANARY_LOG".to_owned(), level.to_owned());
                let occasion = format!("commands at {}", level.1);
                let environment = [&world.environment[..], &[level]].concat();
                run_everything(&outputs, &occasion, Some(&world.config), &environment);
            }
        });
    });
    let file = world.file("loaded.toml");
    fs::write(&file, &world.config).unwrap();
    let environment = world.environment.iter().cloned().collect();
    let loaded = config::load(&Source { file: Some(file.into()), environment, ..Source::default() }).unwrap();
    outputs.add("Debug of the configuration", format!("{loaded:?} {loaded:#?}"));
    outputs.expect_no_leak(&marks, 300);
}

/// Serves a configuration, a refused one and another one, from the start to the end of the log.
fn serve_and_reload(world: &World, level: &str, form: Form, marks: &Marks, outputs: &Outputs) {
    let occasion = format!("{form:?} {level}");
    let serving = Serving::start(&world.config, level, form, &world.environment);
    let aliases = if level == "debug" { &world.aliases[..] } else { &[] };
    ask_everything(outputs, &occasion, &serving, &world.token, aliases);
    let is_refused = || {
        let metrics = serving.get("/metrics", "");
        String::from_utf8_lossy(&metrics).contains("cache_config_reload_success 0")
    };
    serving.reload(&MISTAKES[0].replace("MARK", &in_url(&marks.secret("a reload that is refused"))));
    eventually("the configuration is refused", is_refused);
    serving.reload(&format!("{}\n[caches.more]\nurl = \"redis://nowhere.invalid\"", world.config));
    eventually("the configuration is taken", || !is_refused());
    ask_for_words(outputs, &occasion, &serving, &world.token);
    let command_line = fs::read(format!("/proc/{}/cmdline", serving.pid())).unwrap();
    assert!(!command_line.is_empty());
    outputs.add(format!("{occasion}: the command line"), command_line);
    outputs.add(format!("{occasion}: the log"), serving.stop());
}

#[test]
fn no_output_shows_a_secret_that_a_server_quotes_in_any_spelling() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let world = World::new(&marks);
    let serving = Serving::start(&world.fresh(), "debug", Form::Plain, &world.environment);
    for number in 0..World::spellings() {
        let spelling = world.lie(number);
        ask_for_words(&outputs, &format!("quoted as {spelling}"), &serving, &world.token);
    }
    run_everything(&outputs, "quoted", Some(&world.fresh()), &world.environment);
    outputs.add("the log", serving.stop());
    outputs.expect_no_leak(&marks, 50);
}

#[test]
fn no_message_about_a_mistake_shows_a_secret_beside_it() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let redis = Redis::start(&[]);
    let healthy = format!("[caches.main]\nurl = \"redis://{}\"", redis.addr());
    let serving = Serving::start(&healthy, "debug", Form::Plain, &Environment::new());
    for (number, mistake) in MISTAKES.iter().enumerate() {
        let occasion = format!("mistake {number}");
        let mark = marks.secret(&occasion);
        run_in_vain(&outputs, &occasion, Some(&mistake.replace("MARK", &in_url(&mark))), &Environment::new());
        // A key that is a word alone is shown as a setting that is not known.
        let word = (!mistake.contains("\"MARK\" = ")).then(|| marks.word(&occasion));
        for mark in [in_url(&mark)].into_iter().chain(word) {
            let refused = serving.log().matches("reload failed").count();
            serving.reload(&mistake.replace("MARK", &mark));
            eventually("it is refused", || serving.log().matches("reload failed").count() > refused);
        }
    }
    outputs.add("metrics", serving.get("/metrics", ""));
    outputs.add("the log", serving.stop());
    outputs.expect_no_leak(&marks, 200);
}

#[test]
fn no_message_about_a_broken_key_shows_any_of_it() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        quoted(folder.path().join(name).to_str().unwrap())
    };
    let cert = file("cert.pem", Authority::new().issue(&["localhost"]).certificate());
    for (name, content) in [
        ("text", "MARK"),
        ("cut", "-----BEGIN PRIVATE KEY-----\nMARK\n"),
        ("no key", "-----BEGIN PRIVATE KEY-----\nMARK\n-----END PRIVATE KEY-----\n"),
        ("no base64", "-----BEGIN PRIVATE KEY-----\nMARK%MARK\n-----END PRIVATE KEY-----\n"),
        ("no begin", "-----BEGIN MARK-----\nMARK\n-----END MARK-----\n"),
    ] {
        let key = file(name, &content.replace("MARK", &marks.word(name)));
        let tls = format!("tls = {{ cert_file = {cert}, key_file = {key} }}");
        let of_client = format!("[caches.main]\nurl = \"rediss://127.0.0.1:1\"\n{tls}");
        let of_listener =
            format!("listen = \"127.0.0.1:0\"\n{tls}\n[caches.main]\nurl = \"redis://127.0.0.1:1\"");
        for config in [of_client, of_listener] {
            run_with_its_files(&outputs, name, &config);
        }
    }
    outputs.expect_no_leak(&marks, 60);
}

#[test]
fn no_output_shows_a_secret_of_the_environment_of_django_or_of_sentry() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let folder = tempfile::tempdir().unwrap();
    let mut environments: Vec<(String, Environment)> = Vec::new();
    for variables in VARIABLES {
        let occasion = variables[0].0.to_owned();
        let set = variables.iter().map(|(name, value)| {
            let is_url = value.contains("://");
            let mark = if is_url { in_url(&marks.secret(name)) } else { marks.word(name) };
            ((*name).to_owned(), value.replace("MARK", &mark))
        });
        environments.push((occasion, set.collect()));
    }
    for (number, (name, json)) in JSON.iter().enumerate() {
        let mut text = (*json).to_owned();
        while let Some(at) = text.find("MARK") {
            let mark = marks.secret(name);
            let is_in_url = text[..at].ends_with(':');
            let mark = if is_in_url { in_url(&mark) } else { quoted(&mark).trim_matches('"').to_owned() };
            text.replace_range(at..at + 4, &mark);
        }
        for (more, text) in [("", text.clone()), (" cut", text[..text.len() - 3].to_owned())] {
            let file = folder.path().join(format!("{number}{more}.json"));
            fs::write(&file, text).unwrap();
            environments.push((
                format!("{name}{more}"),
                vec![((*name).to_owned(), file.to_str().unwrap().to_owned())],
            ));
        }
    }
    for (occasion, environment) in &environments {
        run_everything(&outputs, occasion, None, environment);
        // Quotes that a shell would have dropped, and a scheme that is not known.
        for change in [|value: &str| format!("\"{value}\""), |value: &str| value.replace("redis", "rodis")] {
            let changed = environment.iter().map(|(name, value)| (name.clone(), change(value))).collect();
            run_in_short(&outputs, &format!("{occasion} changed"), None, &changed);
        }
    }
    outputs.expect_no_leak(&marks, 300);
}

#[test]
fn no_output_shows_a_secret_of_a_caller() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    let redis = Redis::start(&[]);
    let token = marks.word("the token");
    let config = format!("[access]\ntoken = \"{token}\"\n[caches.main]\nurl = \"redis://{}\"", redis.addr());
    let serving = Serving::start(&config, "debug", Form::Plain, &Environment::new());
    for header in [
        "Authorization: Bearer MARK",
        "authorization: bearer  MARK",
        "Authorization: Basic MARK",
        "Authorization: MARK",
        "Proxy-Authorization: Basic MARK",
        "Cookie: session=MARK",
        "X-Api-Key: MARK",
        "Forwarded: for=\"MARK\"",
        "X-Forwarded-For: MARK",
        "Accept: text/MARK",
        "Referer: http://localhost/?token=MARK",
        "User-Agent: MARK",
    ] {
        for target in ["/health", "/metrics", "/", "/transitions", "/nowhere"] {
            let mark = marks.word(header);
            let answer = serving.get(target, &format!("{}\r\n", header.replace("MARK", &mark)));
            outputs.add(format!("GET {target} with {header}"), answer);
        }
    }
    // A caller may see its own words again, and nobody else.
    for request in [
        "GET /health?token=MARK HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health?format=MARK HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health/MARK HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health/group/MARK HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /MARK HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: MARK\r\n\r\n",
        "GET http://user:MARK@localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: user:MARK@localhost\r\n\r\n",
        "MARK /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health?MARK HTTP/9.9\r\n\r\n",
        "GET /health HTTP/1.1\r\nMARK\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: MARK\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\nMARK",
        "AUTH app MARK\r\n",
        "*2\r\n$4\r\nAUTH\r\n$20\r\nMARK\r\n",
        "set auth 0 0 24\r\napp MARK\r\n",
        "EHLO MARK\r\n",
        "PROXY TCP4 MARK\r\n",
    ] {
        for _ in 0..2 {
            let mark = marks.word(&format!("{request:?}"));
            let request = request.replace("MARK", &mark).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            serving.ask(request.as_bytes());
        }
    }
    grpc(&serving, &marks.word("a service of gRPC"), &token);
    let of_url = marks.word("a URL of healthcheck");
    for url in [
        format!("http://user:{of_url}@{}/health?token={of_url}", serving.addr()),
        format!("http://user:{of_url}@127.0.0.1:1/health?{of_url}"),
        format!("ftp://user:{of_url}@127.0.0.1:1/"),
        format!("http://user:{of_url}@:x/"),
    ] {
        run_one(&outputs, &["healthcheck", "--url", &url], &Environment::new());
        run_one(&outputs, &["healthcheck"], &vec![("CACHE_CANARY_URL".to_owned(), url)]);
    }
    ask_everything(&outputs, "afterwards", &serving, &token, &["main".to_owned()]);
    // Lines that callers cause are limited to ten a second, and the others are counted after it.
    thread::sleep(Duration::from_millis(1100));
    outputs.add("the log", serving.stop());
    outputs.expect_no_leak(&marks, 100);
}

#[test]
fn an_output_without_secrets_has_no_characters_of_a_mark() {
    let (marks, outputs) = (Marks::new(), Outputs::default());
    for number in 0..200 {
        marks.secret(&number.to_string());
        marks.word(&number.to_string());
    }
    let redis = Redis::start(&[]);
    let config = format!(
        "[access]\ntoken = \"0123456789abcdef\"\n[caches.refused]\nurl = \"redis://{}\"\n[groups.web]\n",
        redis.addr()
    );
    let serving = Serving::start(&config, "debug", Form::Plain, &Environment::new());
    ask_everything(&outputs, "healthy", &serving, "0123456789abcdef", &["refused".to_owned()]);
    run_everything(&outputs, "healthy", Some(&config), &Environment::new());
    outputs.add("the log", serving.stop());
    outputs.expect_no_leak(&marks, 30);
}
