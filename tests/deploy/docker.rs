//! The images that `Dockerfile` describes, beside a real Redis: Docker itself says unhealthy when that dies,
//! and healthy when it is back. Without a Docker engine, the tests are skipped, and say so.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use crate::support::docker::{self, Container, Image};
use crate::support::{Port, Redis};

#[test]
fn the_image_with_a_shell_is_unhealthy_while_redis_is_dead() {
    // Busybox's wget does not show the body of an error.
    unhealthy_while_redis_is_dead("shell", "503 Service Unavailable");
}

#[test]
fn the_image_with_the_binary_alone_is_unhealthy_while_redis_is_dead() {
    unhealthy_while_redis_is_dead("minimal", "refused");
}

/// Runs the image of this stage beside a Redis that is killed and started again; `said` is a part of what the
/// health check says while it is dead.
fn unhealthy_while_redis_is_dead(stage: &str, said: &str) {
    if !docker::answers(&format!("the image `{stage}`")) {
        return;
    }

    let mut redis = Redis::start(&[]);
    let image = Image::of_stage(stage);
    let port = Port::reserve();
    let container = run(&image, &port, &redis);
    container.becomes("healthy");

    redis.kill();
    container.becomes("unhealthy");
    let output = container.inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
    assert!(output.contains(said), "the health check does not say {said:?}: {output}");

    redis.restart();
    container.becomes("healthy");
}

/// Runs the image on the host's own network, checking the Redis; with the health check of the image, but more
/// often.
fn run(image: &Image, port: &Port, redis: &Redis) -> Container {
    let listen = format!("CACHE_CANARY_LISTEN={}", port.addr());
    let url = format!("CACHE_CANARY_URL=http://{}/health", port.addr());
    let cache = format!("CACHE_URL=redis://{}/0", redis.addr());
    let confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let told = ["--env", &listen, "--env", &url, "--env", &cache, "--health-interval", "300ms"];
    let arguments = [&["--network", "host"], &confined[..], &told, &[image.name()]].concat();
    Container::run(image.name(), &arguments)
}
