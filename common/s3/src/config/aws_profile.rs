//! The profile of AWS's configuration files, for keys that AWS's own tools read and the S3 client
//! ignores (<https://docs.aws.amazon.com/cli/latest/topic/s3-config.html>) or interprets otherwise.

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::property::PropertiesKey;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::source;
use aws_types::os_shim_internal::{Env, Fs};

use crate::config::environment::{Environment, variable};
use crate::config::error::SettingsError;
use crate::config::settings::PathStyle;

/// A profile of AWS's configuration, empty where the files have none of that name.
#[derive(Default)]
pub struct Profile {
    sections: Option<EnvConfigSections>,
    name: String,
}

impl Profile {
    /// Loads the profile of that name. Files that cannot be read give an empty profile: the
    /// credential providers read the same files and report the error.
    pub async fn load(name: &str, files: Option<&EnvConfigFiles>) -> Self {
        let default = EnvConfigFiles::default();
        let source = source::load(&Env::real(), &Fs::real(), files.unwrap_or(&default)).await.ok();
        let sections = source.and_then(|source| EnvConfigSections::parse(source).ok());
        Self { sections, name: name.to_owned() }
    }

    fn get(&self, key: &str) -> Option<&str> {
        let profile = self.sections.as_ref()?.get_profile(&self.name)?;
        profile.get(key).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Returns the value of a key among the nested lines of the profile's `s3 =` setting.
    fn of_s3(&self, key: &str) -> Option<&str> {
        let lines = self.get("s3")?.lines().filter_map(|line| line.split_once('='));
        let mut values = lines.filter(|(own, _)| own.trim().eq_ignore_ascii_case(key));
        values.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns the path of the file of certificate authorities to trust instead of the system's
    /// (`ca_bundle`).
    pub fn ca_bundle(&self) -> Option<&str> {
        self.get("ca_bundle")
    }

    /// Returns the position of the bucket's name in URLs (`addressing_style`).
    ///
    /// # Errors
    /// Fails if the value is not one of `auto`, `path` and `virtual`.
    pub fn path_style(&self) -> Result<PathStyle, SettingsError> {
        match self.of_s3("addressing_style").map(str::to_ascii_lowercase).as_deref() {
            None | Some("auto") => Ok(PathStyle::Auto),
            Some("path") => Ok(PathStyle::On),
            Some("virtual") => Ok(PathStyle::Off),
            Some(other) => Err(SettingsError::AddressingStyle {
                profile: self.name.clone(),
                style: other.to_owned(),
            }),
        }
    }

    /// Returns the endpoint, from the first of `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the
    /// profile's `services` section and its `endpoint_url`
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>). Returns
    /// `None` where the configuration says to ignore them.
    pub fn endpoint_url(&self, environment: Environment<'_>) -> Option<String> {
        let ignored = variable(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        let ignored = ignored.as_deref().or_else(|| self.get("ignore_configured_endpoint_urls"));
        if ignored.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let in_environment = named.into_iter().find_map(|name| variable(environment, name));
        let in_files = || self.of_services().or_else(|| self.get("endpoint_url"));
        in_environment.or_else(|| in_files().map(str::to_owned))
    }

    /// Returns S3's endpoint in the `services` section that the profile refers to.
    fn of_services(&self) -> Option<&str> {
        let key =
            PropertiesKey::builder().section_key("services").section_name(self.get("services")?);
        let key = key.property_name("s3").sub_property_name("endpoint_url").build().ok()?;
        let value = self.sections.as_ref()?.other_sections().get(&key)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }
}
