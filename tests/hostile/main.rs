//! Hostile callers: the protocols that the sidecar speaks, used rudely. Meanwhile honest probes are answered in time, no
//! cache is down for it, and memory and descriptors are bounded and come back.
//!
//! A [`Flood`](support::flood::Flood) is a crowd of peers with a habit: the bytes that a connection sends in each step (`http1`,
//! `http2`), perhaps over TLS. A [`Scene`](scene::Scene) makes the attack, asks honestly (`honest`), and judges; the peers have
//! addresses of their own in a network of their own (`network`). `places` has what a limit promises in detail.
//!
//! Every attack is in bounds of number and time, and stays on this machine. `HOSTILE_ATTACKS=resets` makes those with this word in
//! their names. `TEST_BINARY=target/release/cache-canary HOSTILE_PROBES=500` makes them with all their force, and no answer may
//! take longer than 250 ms, which needs a quiet machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]
#![allow(clippy::print_stdout, reason = "the summary of each attack")]

#[path = "../support/mod.rs"]
mod support;

mod honest;
mod http1;
mod http2;
mod network;
mod places;
mod scene;

use scene::Crowd::{Excluded, ManyPeers, OnePeer};
use scene::{Attack, Crowd, Scene};
use support::flood::Habit;
use support::{alone, tls_client};

fn attack(name: &'static str, crowd: Crowd, habit: Habit) -> Attack {
    Attack { name, crowd, habit }
}

fn one_after_the_other(scene: &Scene, attacks: &[Attack]) {
    for attack in attacks {
        scene.meets(attack.name, std::slice::from_ref(attack));
    }
    scene.gives_memory_back();
}

fn of_http1() -> Vec<Attack> {
    vec![
        attack("silence", OnePeer, Habit::new(http1::nothing)),
        attack("half heads", ManyPeers, Habit::new(http1::half_a_head)),
        attack("a byte a second", OnePeer, Habit::new(http1::a_byte_a_second)),
        attack("full heads", ManyPeers, Habit::new(http1::a_full_head)),
        attack("kept connections", ManyPeers, Habit::new(http1::one_request)),
        attack("requests", OnePeer, Habit::new(http1::requests)),
        attack("resets", ManyPeers, Habit::resetting(http1::one_request, 0)),
        attack("thousands of fields", OnePeer, Habit::new(http1::many_fields)),
        attack("long fields", ManyPeers, Habit::new(http1::a_long_field)),
        attack("huge targets", OnePeer, Habit::new(http1::a_huge_target)),
        attack("pipelines", ManyPeers, Habit::new(http1::pipeline)),
        attack("pipelines that are not read", OnePeer, Habit::deaf(http1::pipeline)),
        attack("answers that are not read", ManyPeers, Habit::deaf(http1::metrics)),
        attack("endless chunks", OnePeer, Habit::new(http1::endless_chunks)),
        attack("huge bodies", ManyPeers, Habit::new(http1::a_huge_body)),
        attack("event streams that are not read", ManyPeers, Habit::deaf(http1::events)),
    ]
}

fn of_http2() -> Vec<Attack> {
    vec![
        attack("idle HTTP/2", ManyPeers, Habit::new(http2::nothing)),
        attack("streams that are reset", OnePeer, Habit::new(http2::streams_reset)),
        attack("pings and settings", ManyPeers, Habit::new(http2::pings_and_settings)),
        attack("pings and settings, not read", OnePeer, Habit::deaf(http2::pings_and_settings)),
        attack("windows of 0", ManyPeers, Habit::deaf(http2::metrics_for_no_window)),
        attack("heads in pieces", OnePeer, Habit::new(http2::a_head_in_pieces)),
        attack("full heads of HTTP/2", ManyPeers, Habit::deaf(http2::full_heads)),
        attack("bodies without an end", ManyPeers, Habit::new(http2::bodies)),
        attack("Watches that are not read", ManyPeers, Habit::deaf(http2::watches)),
        attack("event streams of HTTP/2", OnePeer, Habit::deaf(http2::events)),
    ]
}

#[test]
fn probes_are_answered_beside_rude_callers_of_http1() {
    let _turn = alone();
    if network::is_inside("probes_are_answered_beside_rude_callers_of_http1") {
        one_after_the_other(&Scene::start(false), &of_http1());
    }
}

#[test]
fn probes_are_answered_beside_rude_callers_of_http2() {
    let _turn = alone();
    if network::is_inside("probes_are_answered_beside_rude_callers_of_http2") {
        one_after_the_other(&Scene::start(false), &of_http2());
    }
}

#[test]
fn probes_are_answered_beside_rude_callers_of_tls() {
    let _turn = alone();
    if !network::is_inside("probes_are_answered_beside_rude_callers_of_tls") {
        return;
    }
    let scene = Scene::start(true);
    let with = |habit: Habit| Habit { tls: scene.tls.clone(), ..habit };
    let half_a_hello = |step| {
        http1::first(step, || {
            let hello = tls_client::client_hello();
            hello[..hello.len() / 2].to_vec()
        })
    };
    let attacks = [
        attack("handshakes that begin", ManyPeers, Habit::new(half_a_hello)),
        attack(
            "handshakes that do not end",
            OnePeer,
            Habit::new(|step| http1::first(step, tls_client::client_hello)),
        ),
        attack("handshakes again and again", ManyPeers, with(Habit::resetting(http1::one_request, 0))),
        attack(
            "answers over TLS that are not read",
            ManyPeers,
            with(Habit::deaf(http1::pipeline_of_metrics)),
        ),
        attack("full heads over TLS", OnePeer, with(Habit::new(http1::a_full_head))),
        attack("event streams over TLS", ManyPeers, with(Habit::deaf(http1::events))),
        attack("full heads of HTTP/2 over TLS", ManyPeers, with(Habit::deaf(http2::full_heads))),
        attack("windows of 0 over TLS", ManyPeers, with(Habit::deaf(http2::metrics_for_no_window))),
        attack("Watches over TLS", ManyPeers, with(Habit::deaf(http2::watches))),
    ];
    one_after_the_other(&scene, &attacks);
}

#[test]
fn probes_are_answered_beside_excluded_callers_and_all_at_once() {
    let _turn = alone();
    if !network::is_inside("probes_are_answered_beside_excluded_callers_and_all_at_once") {
        return;
    }
    let scene = Scene::start(false);
    let excluded = [
        attack("half heads of excluded peers", Excluded, Habit::new(http1::half_a_head)),
        attack("requests of excluded peers", Excluded, Habit::new(http1::requests)),
    ];
    for attack in &excluded {
        scene.meets(attack.name, std::slice::from_ref(attack));
    }
    let all: Vec<_> = [of_http1(), of_http2(), excluded.into()].concat();
    scene.meets("all at once", &all);
    scene.gives_memory_back();
}
