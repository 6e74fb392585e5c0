//! The commands.

/// `config check` and `config show`.
pub mod config;
