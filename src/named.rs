//! [`named!`]: an enum with a stable name for each variant, in one table.

/// Makes a closed list of [`name`]s, which stand beside their variants: people's monitoring relies on them.
///
/// [`name`]: crate::outcome::Phase::name
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        $vis enum $type { $($(#[$doc])* $variant,)+ }

        impl $type {
            /// Every variant, in order.
            $vis const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The stable name, as in the configuration, JSON, text and metrics.
            #[must_use]
            $vis fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}
