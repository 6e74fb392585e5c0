//! [`ReloadStatus`]: the result of the last reload.

use std::time::SystemTime;

/// The result of the last reload of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadStatus {
    /// `true` if it succeeded; if not, an earlier configuration stays in force.
    pub ok: bool,
    /// The time at which the configuration in force was read.
    pub at: SystemTime,
}

impl ReloadStatus {
    /// A successful reload, now.
    pub(super) fn now() -> Self {
        Self { ok: true, at: SystemTime::now() }
    }
}

#[cfg(test)]
mod tests {
    use crate::alias::Alias;
    use crate::app::App;
    use crate::config::{Address, Backend, CacheConfig, Config, RedisConfig, RedisServers, Tls};

    fn config(tls: Option<Tls>) -> Config {
        let address = Address::Unix("/nonexistent/redis.sock".into());
        let redis = RedisConfig { tls, ..RedisConfig::at(RedisServers::Standalone(address)) };
        let caches = vec![CacheConfig::new(Alias::try_from("main").unwrap(), Backend::Redis(redis))];
        Config { caches, ..Config::default() }
    }

    #[test]
    fn a_refused_reload_is_reported_until_a_configuration_is_in_force_again() {
        let app = App::new(&config(None)).unwrap();
        let first = app.last_reload();
        assert!(first.ok);
        app.refuse();
        let refused = app.last_reload();
        assert_eq!((refused.ok, refused.at), (false, first.at), "what is in force is as old as it was");
        app.renew(&config(None)).unwrap();
        let renewed = app.last_reload();
        assert!(renewed.ok && renewed.at >= first.at);
    }

    #[test]
    fn a_configuration_whose_checks_cannot_be_made_leaves_the_one_in_force_alone() {
        let app = App::new(&config(None)).unwrap();
        let before = app.setup();
        let tls = Tls { ca_file: Some("/nonexistent/ca.pem".into()), ..Tls::default() };
        app.renew(&config(Some(tls))).unwrap_err();
        assert!(!app.last_reload().ok);
        assert!(std::sync::Arc::ptr_eq(&before, &app.setup()));
    }
}
