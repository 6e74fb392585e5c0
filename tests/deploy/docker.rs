//! The images that `Dockerfile` describes, beside a real Redis: Docker itself says unhealthy when that dies,
//! and healthy when it is back. Without a Docker engine, the tests are skipped, and say so.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use crate::support::docker::{self, Container, Image};
use crate::support::{Port, Redis};

#[test]
fn the_image_with_a_shell_is_unhealthy_while_redis_is_dead() {
    unhealthy_while_redis_is_dead("shell");
}

#[test]
fn the_image_with_the_binary_alone_is_unhealthy_while_redis_is_dead() {
    unhealthy_while_redis_is_dead("minimal");
}

/// Runs the image of this stage beside a Redis that is killed and started again. The health check names the cause.
fn unhealthy_while_redis_is_dead(stage: &str) {
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
    assert!(output.contains("refused"), "the health check does not name the cause: {output}");

    redis.restart();
    container.becomes("healthy");
}

/// Runs the image on the host's own network, checking the Redis; with the health check of the image, but more
/// often. That finds the port among the arguments of the server.
fn run(image: &Image, port: &Port, redis: &Redis) -> Container {
    let addr = port.addr().to_string();
    let cache = format!("CACHE_URL=redis://{}/0", redis.addr());
    let confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let told = ["--env", &cache, "--health-interval", "300ms"];
    let serve = [image.name(), "serve", "--listen", &addr];
    let arguments = [&["--network", "host"], &confined[..], &told, &serve].concat();
    Container::run(image.name(), &arguments)
}
