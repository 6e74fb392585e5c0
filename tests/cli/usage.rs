//! Help, wrong usage, wrong configuration.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::{cache_canary, no_cache, run, stderr, stdout};

#[test]
fn help_of_every_command_has_examples_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in [
        "Examples:",
        "Environment:",
        "Files:",
        "Signals:",
        "Exit codes: 0 ",
        "serve",
        "check",
        "healthcheck",
        "acl",
        "completions",
        "CACHE_URL",
        "CACHE_CANARY_LOG",
    ] {
        assert!(stdout(&help).contains(word), "{word}");
    }
    for command in ["serve", "check", "healthcheck", "acl", "completions"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        for word in ["Usage: cache-canary", "Examples:", "Exit codes: 0 "] {
            assert!(stdout(&help).contains(word), "{command}: {word}");
        }
    }
}

#[test]
fn the_version_is_the_package_s() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), concat!("cache-canary ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_exits_2_and_of_healthcheck_1() {
    for (arguments, code) in [
        (&[][..], 2),
        (&["serv"][..], 2),
        (&["serve", "--nope"][..], 2),
        (&["check", "--format", "xml"][..], 2),
        (&["check", "--every", "1s"][..], 2),
        (&["check", "--watch", "--every", "99ms"][..], 2),
        (&["check", "--watch", "--explain"][..], 2),
        (&["completions", "tcsh"][..], 2),
        (&["healthcheck", "--cert-file", "/x"][..], 1),
        (&["healthcheck", "--insecure", "--ca-file", "/x"][..], 1),
        (&["healthcheck", "--nope"][..], 1),
        (&["healthcheck", "--timeout", "soon"][..], 1),
        (&["healthcheck", "--url", "http://127.0.0.1/", "--socket", "/x"][..], 1),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_ne!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_configuration_that_is_not_valid_exits_2() {
    for command in ["serve", "check"] {
        let output = run(&[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(stderr(&output).starts_with("error: "), "{command}: {}", stderr(&output));
        let output = cache_canary().arg(command).env("CACHE_URL", "nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let mut command =
            cache_canary().arg(command).env("CACHE_URL", no_cache()).env("CACHE_CANARY_LOG", "loud").output();
        let output = command.as_mut().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let expected = "error: CACHE_CANARY_LOG is `loud`, but must be error, warn, info or debug\n";
        assert_eq!(stderr(output), expected);
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_found_by_config_check_and_not_at_the_start_alone() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("cache-canary.toml");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("good.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(directory.path().join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let checked = |cert: &str, ca: &str| {
        let caches = format!("[caches.main]\nurl = \"rediss://cache\"\ntls.ca_file = \"{ca}\"\n");
        let tls = format!("[tls]\ncert_file = \"{cert}\"\nkey_file = \"key.pem\"\n");
        std::fs::write(&config, caches + &tls).unwrap();
        let output = cache_canary().args(["config", "check", "-c"]).arg(&config).output().unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, said, error) = checked("good.pem", "good.pem");
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(said.contains(" is valid\n"), "{said}");
    for (cert, ca, wrong) in [
        ("missing.pem", "good.pem", "missing.pem"),
        ("cache-canary.toml", "good.pem", "cache-canary.toml"),
        ("good.pem", "missing.pem", "missing.pem"),
        ("good.pem", "key.pem", "key.pem"),
    ] {
        let (code, said, error) = checked(cert, ca);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{cert} {ca}: {error}");
        assert!(error.starts_with("error: ") && error.contains(wrong), "{cert} {ca}: {error}");
    }
}

#[test]
fn acl_prints_a_user_that_has_no_password_yet() {
    let mut command = cache_canary();
    let output = command.env("CACHE_URL", "redis://canary@cache:6379/0").arg("acl").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("ACL SETUSER canary "), "{}", stdout(&output));
    // Where it is to log in, it needs one.
    let mut command = cache_canary();
    let output = command.env("CACHE_URL", "redis://canary@cache:6379/0").arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("a user is given without a password"), "{}", stderr(&output));
}

/// The output of a command that reads this text from its standard input.
fn given(command: &mut Command, text: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_file_may_be_a_pipe() {
    for arguments in [&["config", "check"][..], &["config", "show"], &["acl"]] {
        let mut command = cache_canary();
        command.args(arguments).args(["-c", "/dev/stdin"]);
        let output = given(&mut command, "[caches.main]\nurl = \"redis://user:password@cache:6379\"\n");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn django_s_setting_may_come_from_standard_input() {
    let check = |caches: &str| {
        let mut command = cache_canary();
        command.env("CACHE_CANARY_DJANGO_CACHES", "-").args(["config", "check"]);
        given(&mut command, caches)
    };
    let caches = "4 objects imported automatically (use -v 2 for details).\n\n{\"default\": {\"BACKEND\": \
                  \"django.core.cache.backends.redis.RedisCache\", \"LOCATION\": \"redis://cache:6379/3\"}}\n";
    let output = check(caches);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("checked: redis at cache:6379, database 3"), "{}", stdout(&output));
    assert!(
        stdout(&output).contains("1 line before the first { in standard input was passed over"),
        "{}",
        stdout(&output)
    );
    for broken in ["{\"default\": ", "{\"default\": 1}"] {
        let output = check(broken);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("standard input:1:"), "{}", stderr(&output));
    }
}

#[test]
fn quotes_around_the_variables_that_name_files_and_urls_are_named() {
    let ran = |command: &str, variable: &str, value: &str| {
        let output = cache_canary().args(command.split(' ')).env(variable, value).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "[caches.main]\nurl = \"redis://cache:6379\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(ran("config check", "CACHE_CANARY_CONFIG", path).0, Some(0));
    for quoted in [format!("\"{path}\""), format!("'{path}'"), format!("\"{path}\"\n")] {
        let (code, said) = ran("config check", "CACHE_CANARY_CONFIG", &quoted);
        assert_eq!(code, Some(2));
        assert!(said.contains("CACHE_CANARY_CONFIG: the value begins and ends with quotes"), "{said}");
        let (code, said) = ran("healthcheck", "CACHE_CANARY_CONFIG", &quoted);
        assert!(code == Some(1) && said.contains("begins and ends with quotes"), "{said}");
    }
    let (code, said) = ran("healthcheck", "CACHE_CANARY_URL", "\"http://me:s3cret@127.0.0.1:1/health\"");
    assert_eq!(code, Some(1));
    assert!(
        said.contains("CACHE_CANARY_URL begins and ends with quotes") && !said.contains("s3cret"),
        "{said}"
    );
    let (_, said) = ran("healthcheck", "CACHE_CANARY_URL", " http://127.0.0.1:1/health\n");
    assert!(said.contains("cannot connect to http://127.0.0.1:1/health"), "{said}");
}
