//! S3 clients of others, from `target/venv`, by which the embedded server and the suite's own
//! client are checked.

use std::path::PathBuf;
use std::process::Command;

/// Returns a program of `target/venv`, where `scripts/setup.sh` installs it.
///
/// # Panics
/// When it is not there.
pub fn venv(program: &str) -> PathBuf {
    let path = crate::job::project().join("target/venv/bin").join(program);
    assert!(path.exists(), "{} is not installed; run make setup-test", path.display());
    path
}

/// Environment variables of a server.
pub type Environment = [(&'static str, String)];

/// Returns a command with this environment, without the user's variables of AWS and rclone.
pub fn within(mut command: Command, environment: &Environment) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_")
            || name.to_string_lossy().starts_with("RCLONE_")
        {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn command(program: &str, environment: &Environment) -> Command {
    within(Command::new(venv(program)), environment)
}

/// Returns a script with its interpreter, which it names by a path that must have no space.
fn script(name: &str, environment: &Environment) -> Command {
    let mut command = command("python", environment);
    command.arg(venv(name));
    command
}

/// Returns AWS's own client, with one attempt, so that errors are seen as they are.
pub fn aws(environment: &Environment) -> Command {
    let mut command = script("aws", environment);
    command.envs([("AWS_MAX_ATTEMPTS", "1"), ("AWS_PAGER", "")]);
    command
}

/// Returns s5cmd.
pub fn s5cmd(environment: &Environment) -> Command {
    let mut command = script("s5cmd", environment);
    command.args(["--log", "error"]);
    command
}

/// Returns rclone; paths in S3 are `:s3:BUCKET/KEY`.
pub fn rclone(environment: &Environment) -> Command {
    let mut command = command("rclone", environment);
    let endpoint = environment.iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL");
    let endpoint = &endpoint.expect("a server says where it is").1;
    command.args(["--config", "/dev/null", "--s3-provider", "Other", "--s3-env-auth"]);
    command.args(["--s3-list-version", "2", "--s3-endpoint", endpoint]);
    command
}
