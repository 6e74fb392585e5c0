//! Certificates of kinds that are not made by [`super::Authority`], by OpenSSL's own program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::tls::Identity;

/// A folder in which OpenSSL makes certificates: each has a name, and files with that name.
pub struct OpenSsl(tempfile::TempDir);

/// The options for an RSA key.
pub const RSA: &str = "-newkey rsa:2048";

impl OpenSsl {
    /// A new folder.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// A file in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Writes a file.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, content).expect("to write");
        path
    }

    /// Runs OpenSSL with these arguments, in the folder.
    pub fn run(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let output = openssl.args(arguments.split_whitespace()).current_dir(self.0.path()).output();
        let output = output.expect("openssl");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a certificate that is signed with its own key, and has this common name.
    pub fn self_signed(&self, name: &str, key: &str, options: &str) -> Identity {
        self.run(&format!(
            "req -x509 {key} -nodes -subj /CN={name} -days 30 -keyout {name}.key -out {name}.pem {options}"
        ));
        self.identity(name)
    }

    /// Makes a certificate for `localhost` that the authority `by` has signed, with these extensions. Without any it is of
    /// version 1.
    pub fn issue(&self, name: &str, by: &str, key: &str, extensions: &str, options: &str) -> Identity {
        self.run(&format!("req -new {key} -nodes -subj /CN=localhost -keyout {name}.key -out {name}.csr"));
        let with = if extensions.is_empty() {
            String::new()
        } else {
            self.write(&format!("{name}.ext"), extensions);
            format!("-extfile {name}.ext")
        };
        let ca = format!("-CA {by}.pem -CAkey {by}.key -CAcreateserial");
        self.run(&format!("x509 -req -in {name}.csr {ca} -days 30 {with} {options} -out {name}.pem"));
        self.identity(name)
    }

    /// The certificate and the key in the files with this name.
    pub fn identity(&self, name: &str) -> Identity {
        let read = |file: String| fs::read_to_string(self.path(&file)).expect("a file");
        Identity::of(read(format!("{name}.pem")), read(format!("{name}.key")))
    }
}
