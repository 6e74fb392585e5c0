//! A real Chromium, driven by its driver as the standard says (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python/axe_playwright_python/axe.min.js");

/// A browser with one page, ended when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// A browser as wide as a phone, in light.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let mut said = BufReader::new(driver.stdout.take().expect("stdout"));
        let port = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).expect("its words") > 0, "chromedriver ended");
            let started = line.trim().trim_end_matches('.').rsplit_once("successfully on port ");
            if let Some(port) = started.and_then(|(_, port)| port.parse().ok()) {
                break port;
            }
        };
        // Its other output must not fill the pipe, which would stop it.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let mut browser = Self { driver, port, session: String::new() };
        let mut made = browser.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                ] },
                "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            } } }),
        );
        browser.session = serde_json::from_value(made["sessionId"].take()).expect("a session");
        browser.look(390, "light");
        browser
    }

    /// Gives the page this width in CSS pixels, and the person this preference of `light` or `dark`.
    pub fn look(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Goes to a page, and waits until it is loaded.
    pub fn go(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// The result of a function with this body, which runs in the page.
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that the selector finds, as it is seen; empty where there is none to be seen.
    pub fn text(&self, selector: &str) -> String {
        let script = "const found = document.querySelector(SELECTOR); return found?.checkVisibility() ? found.innerText : ''";
        let text = self.run(&script.replace("SELECTOR", &json!(selector).to_string()));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The page as it stands, which needs no script.
    pub fn source(&self) -> String {
        // A page that is reloaded between the two questions takes the node with it.
        let html = (0..10).find_map(|_| {
            let document = self.devtools("DOM.getDocument", &json!({}));
            let node = json!({ "nodeId": document["root"]["nodeId"] });
            let asked = json!({ "cmd": "DOM.getOuterHTML", "params": node });
            let (code, mut answer) = self.attempt("POST", &self.path("/goog/cdp/execute"), &asked);
            (code == "200").then(|| answer["value"]["outerHTML"].take())
        });
        html.as_ref().and_then(Value::as_str).expect("HTML").to_owned()
    }

    /// Presses a key, such as `Tab`, `Enter`.
    pub fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            other => panic!("{other} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.devtools("Input.dispatchKeyEvent", &event);
        }
    }

    /// A command of Chromium's own protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// A screenshot of the page, as a PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let png = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = png["data"].as_str().expect("a picture");
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, png).expect("Base64")
    }

    /// The console output of the page and the browser since the last time.
    pub fn console(&self) -> Vec<String> {
        self.log("browser").iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// The URLs of what was loaded since the last time.
    pub fn loaded(&self) -> Vec<String> {
        let log = self.log("performance");
        let messages = log.iter().map(|entry| {
            let message = entry["message"].as_str().expect("a message");
            serde_json::from_str::<Value>(message).expect("JSON")["message"].take()
        });
        let requests = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        requests
            .map(|request| request["params"]["request"]["url"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The accessibility faults that axe finds on the page: the rule, and where it is broken.
    pub fn violations(&self) -> Vec<String> {
        if self.run("return typeof axe") == "undefined" {
            let axe = std::fs::read_to_string(AXE).expect("axe; tests/install brings it");
            self.run(&axe);
        }
        let script = "const done = arguments[0]; axe.run().then((found) => done(found.violations.map((one) => \
            one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join('; '))))";
        let found = self.command("POST", "/execute/async", &json!({ "script": script, "args": [] }));
        found.as_array().expect("a list").iter().map(ToString::to_string).collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.command("POST", "/se/log", &json!({ "type": kind }));
        log.as_array().expect("a log").clone()
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &self.path(path), body)
    }

    fn path(&self, of_session: &str) -> String {
        format!("/session/{}{of_session}", self.session)
    }

    fn attempt(&self, method: &str, path: &str, body: &Value) -> (String, Value) {
        let (code, answer) = self.exchange(method, path, body).expect("chromedriver");
        (code, serde_json::from_slice(&answer).expect("JSON"))
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (code, mut answer) = self.attempt(method, path, body);
        assert_eq!(code, "200", "{method} {path}: {answer:#}");
        answer["value"].take()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while answer.read_line(&mut head)? > 2 {
            let line = head.lines().last().unwrap_or_default().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is the driver's, which would leave it behind.
        if !self.session.is_empty() {
            let _ = self.exchange("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
