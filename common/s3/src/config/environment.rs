//! The variables of the user's environment.

/// Access to the user's environment: a function from a variable's name to its value.
pub type Environment<'e> = &'e (dyn Fn(&str) -> Option<String> + Sync);

/// Returns the value of a variable of this process's environment, unless it is unset or not UTF-8.
pub fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the value of an environment variable, treating an empty one as unset.
pub fn variable(environment: Environment<'_>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}
