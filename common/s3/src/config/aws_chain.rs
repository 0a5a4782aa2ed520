//! Settings from AWS's configuration: the credentials, region and endpoint that AWS's own tools
//! would find (<https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html>).

use std::time::UNIX_EPOCH;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::client::http;
use crate::client::http::Proxies;
use crate::client::trust;
use crate::client::trust::TrustError;
use crate::config::aws_profile::Profile;
use crate::config::credentials_fault::{CredentialsFault, Origin};
use crate::config::environment::{Environment, variable};
use crate::config::error::SettingsError;
use crate::config::settings::{CaBundle, Chain, Credentials, PathStyle, Secret};
use types::limits::{CREDENTIALS_WAIT, INSTANCE_METADATA_WAIT};

/// The region used where neither an option, a variable, nor a profile names one.
pub const DEFAULT_REGION: &str = "us-east-1";

/// The settings found in AWS's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The credentials that requests are signed with.
    pub credentials: Credentials,
    /// The region that requests are signed for.
    pub region: String,
    /// The URL of the service; `None` for AWS itself.
    pub endpoint_url: Option<String>,
    /// The position of the bucket's name in URLs (`addressing_style`).
    pub path_style: PathStyle,
    /// The certificate authorities to trust instead of the system's.
    pub ca_bundle: Option<CaBundle>,
    /// True to use AWS's dual-stack hosts, which answer over IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// True to use AWS's hosts with cryptographic modules validated under FIPS 140.
    pub use_fips: bool,
}

/// A search of AWS's configuration: the files, variables and HTTP clients it uses.
pub struct Search<'s> {
    chain: &'s Chain,
    environment: Environment<'s>,
    /// The profile passed to the S3 client's own providers; `None` where they choose it themselves,
    /// by `AWS_PROFILE` or `default`.
    selected: Option<String>,
    profile: Profile,
    files: Option<EnvConfigFiles>,
    ca_bundle: Option<CaBundle>,
    http: SharedHttpClient,
    direct: SharedHttpClient,
}

impl<'s> Search<'s> {
    /// Loads the profile and prepares the HTTP clients, without asking any service.
    ///
    /// # Errors
    /// Fails if the bundle of certificates cannot be used.
    pub async fn open(chain: &'s Chain, environment: Environment<'s>) -> Result<Self, TrustError> {
        let files = chain.credentials_file.as_ref().map(|path| {
            let files = EnvConfigFiles::builder().include_default_config_file(true);
            files.with_file(EnvConfigFileKind::Credentials, path).build()
        });
        // A variable that is empty names no profile; the client would look for one without a name.
        let is_empty = environment("AWS_PROFILE").is_some_and(|name| name.is_empty());
        let selected = chain.profile.clone().or_else(|| is_empty.then(|| "default".to_owned()));
        let named = selected.clone().or_else(|| variable(environment, "AWS_PROFILE"));
        let name = named.unwrap_or_else(|| "default".to_owned());
        let profile = Profile::load(&name, files.as_ref()).await;
        let ca_bundle = trust::ca_bundle(environment, profile.ca_bundle());
        let proxies = Proxies::of("https://amazonaws.com", environment);
        let client = |proxies| http::client(ca_bundle.as_ref(), proxies);
        let (http, direct) = (client(proxies)?, client(Proxies::None)?);
        Ok(Self { chain, environment, selected, profile, files, ca_bundle, http, direct })
    }

    /// Finds the region, the endpoint and, where requests are to be signed, the credentials.
    /// `region` overrides all configuration.
    ///
    /// # Errors
    /// Returns why there are no credentials and what to do.
    pub async fn look(
        &self,
        region: Option<&str>,
        signing: Signing,
    ) -> Result<Found, SettingsError> {
        let region = match region {
            Some(given) => Some(Region::new(given.to_owned())),
            None => self.region().await,
        };
        let sdk = self.sdk_config(region.clone()).await;
        let (credentials, instance_region) = match signing {
            Signing::None => (Credentials::Anonymous, None),
            Signing::Needed => self.credentials(region.clone()).await?,
        };
        let region = region.or(instance_region);
        Ok(Found {
            credentials,
            region: region.map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.to_string()),
            endpoint_url: self.profile.endpoint_url(self.environment),
            path_style: self.profile.path_style()?,
            ca_bundle: self.ca_bundle.clone(),
            use_dual_stack: sdk.use_dual_stack().unwrap_or(false),
            use_fips: sdk.use_fips().unwrap_or(false),
        })
    }

    /// Finds credentials anew, when those in use are about to expire.
    ///
    /// # Errors
    /// As for [`Search::look`].
    pub async fn renew(&self) -> Result<Credentials, SettingsError> {
        let region = self.region().await;
        Ok(self.credentials(region).await?.0)
    }

    /// Returns the region of the variables or the profile. Variables take precedence, as with AWS's
    /// own tools.
    async fn region(&self) -> Option<Region> {
        let mut profile = ProfileFileRegionProvider::builder();
        if let Some(name) = &self.selected {
            profile = profile.profile_name(name);
        }
        if let Some(files) = &self.files {
            profile = profile.profile_files(files.clone());
        }
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        match named.into_iter().find_map(|name| variable(self.environment, name)) {
            Some(region) => Some(Region::new(region)),
            None => profile.build().region().await,
        }
    }

    /// Loads the settings that the client's own loader knows, such as dual-stack hosts.
    async fn sdk_config(&self, region: Option<Region>) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.http.clone())
            // Without a region, the loader would ask the instance's metadata service, which is slow
            // to fail where there is none.
            .region(region.unwrap_or_else(|| Region::new(DEFAULT_REGION)))
            // Retries are this program's own. The loader would panic at settings of other tools,
            // such as AWS_RETRY_MODE=legacy.
            .retry_config(RetryConfig::disabled())
            .no_credentials();
        if let Some(name) = &self.selected {
            loader = loader.profile_name(name);
        }
        if let Some(files) = &self.files {
            loader = loader.profile_files(files.clone());
        }
        loader.load().await
    }

    /// Finds the credentials, and the region of the instance if the credentials are those of the
    /// instance's role and no other region is configured.
    async fn credentials(
        &self,
        region: Option<Region>,
    ) -> Result<(Credentials, Option<Region>), CredentialsFault> {
        let signing = region.clone().unwrap_or_else(|| Region::new(DEFAULT_REGION));
        let config = ProviderConfig::without_region()
            .with_region(Some(signing))
            .with_http_client(self.http.clone());
        let chain = self.providers(&config);
        let waiting = tokio::time::timeout(CREDENTIALS_WAIT, chain.provide_credentials()).await;
        let found = waiting.map_err(|_| CredentialsFault::Late(self.origin()))?;
        let found = found.map_err(|error| self.fault(error))?;
        let features = found.get_property::<Vec<AwsCredentialFeature>>();
        let is_instance =
            features.is_some_and(|all| all.contains(&AwsCredentialFeature::CredentialsImds));
        let instance_region = match region {
            None if is_instance => {
                let asked = ImdsRegionProvider::builder().imds_client(self.instance_metadata());
                asked.configure(&config).build().region().await
            }
            _ => None,
        };
        Ok((keys(&found), instance_region))
    }

    /// Builds the chain of credential providers. A profile requested by name is the only provider,
    /// as with `aws --profile`, which then ignores keys in the environment too.
    fn providers(&self, config: &ProviderConfig) -> CredentialsProviderChain {
        let mut profile = ProfileFileCredentialsProvider::builder().configure(config);
        if let Some(files) = &self.files {
            profile = profile.profile_files(files.clone());
        }
        if let Some(name) = &self.chain.profile {
            return CredentialsProviderChain::first_try(
                "Profile",
                profile.profile_name(name).build(),
            );
        }
        if let Some(name) = &self.selected {
            profile = profile.profile_name(name);
        }
        let environment = EnvironmentVariableCredentialsProvider::new();
        let token = WebIdentityTokenCredentialsProvider::builder().configure(config).build();
        let container = EcsCredentialsProvider::builder().configure(config).build();
        let instance = ImdsCredentialsProvider::builder().configure(config);
        let instance = LastResort(instance.imds_client(self.instance_metadata()).build());
        CredentialsProviderChain::first_try("Environment", environment)
            .or_else("Profile", profile.build())
            .or_else("WebIdentityToken", token)
            .or_else("EcsContainer", container)
            .or_else("Ec2InstanceMetadata", instance)
    }

    /// Builds a client of the instance's metadata service, without a proxy and with short timeouts:
    /// only this machine's own hypervisor can answer at that link-local address.
    fn instance_metadata(&self) -> aws_config::imds::Client {
        let config = ProviderConfig::without_region().with_http_client(self.direct.clone());
        aws_config::imds::Client::builder()
            .configure(&config)
            .connect_timeout(INSTANCE_METADATA_WAIT)
            .read_timeout(INSTANCE_METADATA_WAIT)
            .operation_timeout(3 * INSTANCE_METADATA_WAIT)
            .max_attempts(2)
            .build()
    }

    /// Returns why there are no credentials.
    fn fault(&self, error: CredentialsError) -> CredentialsFault {
        let is_missing = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        match (&self.chain.profile, is_missing) {
            (Some(name), true) => CredentialsFault::Profile(name.clone()),
            (None, true) => CredentialsFault::Nowhere,
            (_, false) => CredentialsFault::Failed { origin: self.origin(), source: error },
        }
    }

    fn origin(&self) -> Origin {
        self.chain.profile.clone().map_or(Origin::Configuration, Origin::Profile)
    }
}

/// The provider of the instance role's credentials, asked last. Many networks route the metadata
/// service's address (169.254.169.254) elsewhere, so any failure there only means that there is no
/// role.
#[derive(Debug)]
struct LastResort(ImdsCredentialsProvider);

impl ProvideCredentials for LastResort {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0.provide_credentials().await.map_err(CredentialsError::not_loaded)
        })
    }
}

/// The choice between signed and anonymous requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Requests are signed, so credentials are needed.
    Needed,
    /// Requests are anonymous, so no credentials are looked up.
    None,
}

fn keys(found: &aws_credential_types::Credentials) -> Credentials {
    let expires = found.expiry().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Credentials::Keys {
        access_key_id: found.access_key_id().to_owned(),
        secret_access_key: Secret::new(found.secret_access_key()),
        session_token: found.session_token().map(Secret::new),
        expires_seconds: expires.map(|since| since.as_secs()),
    }
}
