//! Declaration of a trait together with its decorator trait, so that forwarding cannot miss a
//! method.

/// Declares a trait of the interface from the list of its methods, and from the same list:
///
/// - a trait for decorators, whose methods all forward to `inner` (or, those that consume the
///   object, to the result of `$into`) unless a decorator overrides them,
/// - the blanket implementation by which a decorator implements the trait itself,
/// - `<dyn Trait>::METHODS`, the names of the methods,
/// - in tests, an object that records which of its methods were called.
///
/// Methods under `required` must be implemented by every store. Those under `provided` have a
/// default that is right for a store that has nothing better. Those under `ending` consume the
/// object.
macro_rules! seam_trait {
    (
        $(#[$about:meta])*
        pub trait $Trait:ident, decorated by $Decorator:ident, in tests $Spy:ident;

        required { $(
            $(#[$r_about:meta])*
            fn $r_name:ident(&$r_self:ident $(, $r_arg:ident: $r_type:ty)* $(,)?)
                $(-> $r_output:ty)?;
        )* }

        provided { $(
            $(#[$p_about:meta])*
            fn $p_name:ident(&$p_self:ident $(, $p_arg:ident: $p_type:ty)* $(,)?)
                $(-> $p_output:ty)? { $($p_body:tt)* }
        )* }

        $( ending through $into:ident { $(
            $(#[$e_about:meta])*
            fn $e_name:ident(self: Box<Self> $(, $e_arg:ident: $e_type:ty)* $(,)?)
                -> $e_output:ty;
        )* } )?
    ) => {
        $(#[$about])*
        #[allow(unused_variables, reason = "a default may do without what it is given")]
        pub trait $Trait: Send + Sync {
            $(
                $(#[$r_about])*
                fn $r_name(&$r_self $(, $r_arg: $r_type)*) $(-> $r_output)?;
            )*
            $(
                $(#[$p_about])*
                fn $p_name(&$p_self $(, $p_arg: $p_type)*) $(-> $p_output)? { $($p_body)* }
            )*
            $( $(
                $(#[$e_about])*
                fn $e_name(self: Box<Self> $(, $e_arg: $e_type)*) -> $e_output;
            )* )?
        }

        #[doc = concat!("Decorates a [`", stringify!($Trait), "`]: what is not done otherwise is forwarded.")]
        pub trait $Decorator: Send + Sync {
            /// Returns the decorated object.
            fn inner(&self) -> &dyn $Trait;
            $(
                /// Gives up the decorator for the decorated object.
                fn $into(self: Box<Self>) -> Box<dyn $Trait>;
            )?
            $(
                #[doc = concat!("Forwards to [`", stringify!($Trait), "::", stringify!($r_name), "`].")]
                fn $r_name(&self $(, $r_arg: $r_type)*) $(-> $r_output)? {
                    self.inner().$r_name($($r_arg),*)
                }
            )*
            $(
                #[doc = concat!("Forwards to [`", stringify!($Trait), "::", stringify!($p_name), "`].")]
                fn $p_name(&self $(, $p_arg: $p_type)*) $(-> $p_output)? {
                    self.inner().$p_name($($p_arg),*)
                }
            )*
            $( $(
                #[doc = concat!("Forwards to [`", stringify!($Trait), "::", stringify!($e_name), "`].")]
                fn $e_name(self: Box<Self> $(, $e_arg: $e_type)*) -> $e_output {
                    self.$into().$e_name($($e_arg),*)
                }
            )* )?
        }

        impl<D: $Decorator> $Trait for D {
            $(
                fn $r_name(&self $(, $r_arg: $r_type)*) $(-> $r_output)? {
                    $Decorator::$r_name(self $(, $r_arg)*)
                }
            )*
            $(
                fn $p_name(&self $(, $p_arg: $p_type)*) $(-> $p_output)? {
                    $Decorator::$p_name(self $(, $p_arg)*)
                }
            )*
            $( $(
                fn $e_name(self: Box<Self> $(, $e_arg: $e_type)*) -> $e_output {
                    $Decorator::$e_name(self $(, $e_arg)*)
                }
            )* )?
        }

        impl dyn $Trait + '_ {
            /// Names of all methods, in the order of their declaration.
            pub const METHODS: &'static [&'static str] = &[
                $(stringify!($r_name),)* $(stringify!($p_name),)* $($(stringify!($e_name),)*)?
            ];
        }

        #[cfg(test)]
        pub(crate) struct $Spy {
            pub inner: Box<dyn $Trait>,
            pub calls: std::sync::Arc<crate::seam_trait::tests::Calls>,
        }

        #[cfg(test)]
        impl $Trait for $Spy {
            $(
                fn $r_name(&self $(, $r_arg: $r_type)*) $(-> $r_output)? {
                    self.calls.note(stringify!($r_name));
                    $Trait::$r_name(&*self.inner $(, $r_arg)*)
                }
            )*
            $(
                fn $p_name(&self $(, $p_arg: $p_type)*) $(-> $p_output)? {
                    self.calls.note(stringify!($p_name));
                    $Trait::$p_name(&*self.inner $(, $p_arg)*)
                }
            )*
            $( $(
                fn $e_name(self: Box<Self> $(, $e_arg: $e_type)*) -> $e_output {
                    self.calls.note(stringify!($e_name));
                    $Trait::$e_name(self.inner $(, $e_arg)*)
                }
            )* )?
        }
    };
}

pub(crate) use seam_trait;

#[cfg(test)]
pub(crate) mod tests;
