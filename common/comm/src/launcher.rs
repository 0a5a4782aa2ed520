//! Detection of how this process was started, as far as the environment tells.
//!
//! A launcher that does not speak this MPI's process-management interface starts N processes that
//! each believe to be alone, and each would do the whole job. The variables that launchers leave
//! behind give that away.

/// Launch of this process, according to the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// A process started by hand: no launcher has left a trace.
    Alone,
    /// A process started by a launcher, as one of several where the launcher tells it.
    Launched {
        /// Variable that tells it, with its value: for messages.
        evidence: String,
        /// Number of processes of the job, as the launcher counts them; 1 where it does not tell.
        processes: u64,
        /// Number of this process among them, from 0.
        process: u64,
    },
}

/// Variables with a number of processes, each with the variable of this process's number.
const COUNTS: [(&str, &str); 8] = [
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PALS_SIZE", "PALS_RANKID"),
    ("PALS_LOCAL_SIZE", "PALS_RANKID"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("SLURM_NTASKS", "SLURM_PROCID"),
];

/// Variables with only this process's number: above 0, there are others.
const NUMBERS: [&str; 3] = ["PALS_RANKID", "PMIX_RANK", "PMI_RANK"];

/// Detects the launch from the launchers' variables, which `get` reads.
pub fn detect(get: impl Fn(&str) -> Option<String>) -> Launch {
    let number = |name: &str| get(name).and_then(|text| text.parse::<u64>().ok());
    // In a batch script itself (not in a step that srun started) Slurm's counts describe the
    // allocation, not processes that run.
    let in_batch_script = get("SLURM_JOB_ID").is_some() && get("SLURM_STEP_ID").is_none();
    let counts = COUNTS
        .iter()
        .filter(|(count, _)| !(in_batch_script && count.starts_with("SLURM")))
        .filter_map(|(count, process)| Some((*count, number(count)?, number(process).unwrap_or(0))))
        .max_by_key(|(_, processes, _)| *processes);
    if let Some((name, processes, process)) = counts {
        return Launch::Launched { evidence: format!("{name}={processes}"), processes, process };
    }
    let numbered = NUMBERS.iter().find_map(|name| Some((*name, number(name)?)));
    match numbered {
        Some((name, process)) => Launch::Launched {
            evidence: format!("{name}={process}"),
            processes: process + 1,
            process,
        },
        None => Launch::Alone,
    }
}

/// Variables with the number of processes of this node: of Hydra, Open MPI, and PALS.
const LOCAL_COUNTS: [&str; 3] =
    ["MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "PALS_LOCAL_SIZE"];

/// Returns whether the launcher's variables, which `get` reads, tell that all ranks are on this
/// node.
pub fn is_one_node(get: impl Fn(&str) -> Option<String>, ranks: u32) -> bool {
    let count = |name: &str| get(name)?.parse::<u32>().ok();
    LOCAL_COUNTS.iter().find_map(|name| count(name)) == Some(ranks)
}

/// Checks that this process may start working: it must not where the launcher started several
/// processes and MPI sees one.
///
/// # Errors
/// Fails for a process that would do the job of all.
pub fn check(launch: &Launch, mpi_size: u32, mpi_library: &str) -> Result<(), Singletons> {
    match launch {
        Launch::Launched { evidence, processes, .. } if *processes > 1 && mpi_size == 1 => {
            Err(Singletons {
                evidence: evidence.clone(),
                processes: *processes,
                library: mpi_library.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// Processes of a job that do not see each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the launcher started {processes} processes ({evidence}), but each of them is alone in \
     MPI_COMM_WORLD and would do the whole job; start them with the mpiexec of the MPI this program \
     was built with ({library}), or with srun --mpi=pmi2 or --mpi=pmix as that MPI needs; for one \
     process, unset that variable"
)]
pub struct Singletons {
    evidence: String,
    processes: u64,
    library: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(vars: &[(&str, &str)]) -> Launch {
        detect(get(vars))
    }

    fn get(vars: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        move |name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn ranks_are_on_one_node_where_the_launcher_says_so() {
        for (vars, is_one) in [
            (&[("MPI_LOCALNRANKS", "4")][..], true),
            (&[("MPI_LOCALNRANKS", "2")], false),
            (&[("OMPI_COMM_WORLD_LOCAL_SIZE", "4"), ("OMPI_COMM_WORLD_SIZE", "4")], true),
            (&[("PMI_SIZE", "4")], false),
        ] {
            assert_eq!(is_one_node(get(vars), 4), is_one, "{vars:?}");
        }
    }

    #[test]
    fn no_variable_means_alone() {
        assert_eq!(launch(&[("HOME", "/root")]), Launch::Alone);
    }

    #[test]
    fn n_singletons_are_refused_whatever_the_launcher() {
        for vars in [
            &[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "2")][..],
            &[("SLURM_JOB_ID", "7"), ("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4")],
            &[("PMI_SIZE", "4"), ("PMI_RANK", "0")],
            &[("OMPI_COMM_WORLD_SIZE", "4")],
            &[("PALS_RANKID", "3")],
            &[("PALS_LOCAL_SIZE", "4"), ("PALS_RANKID", "0")],
            &[("PMIX_RANK", "3")],
        ] {
            let launch = launch(vars);
            let refused = check(&launch, 1, "MPICH");
            assert!(
                refused.is_err_and(|why| why
                    .to_string()
                    .contains(vars.last().expect("not empty").0)
                    || why.to_string().contains(vars[0].0)
                    || why.to_string().contains("SLURM")),
                "{vars:?}"
            );
            assert_eq!(check(&launch, 4, "MPICH"), Ok(()), "{vars:?}");
        }
    }

    #[test]
    fn one_process_of_one_is_fine() {
        assert_eq!(check(&launch(&[("PMI_SIZE", "1")]), 1, "MPICH"), Ok(()));
        assert_eq!(check(&launch(&[("SLURM_NTASKS", "1")]), 1, "MPICH"), Ok(()));
        assert_eq!(check(&launch(&[("PALS_RANKID", "0")]), 1, "MPICH"), Ok(()));
    }

    #[test]
    fn a_batch_script_itself_is_one_process() {
        let script = [("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "64"), ("SLURM_PROCID", "0")];
        assert_eq!(launch(&script), Launch::Alone);
    }

    #[test]
    fn the_process_knows_its_number_so_that_one_of_them_speaks() {
        let launch = launch(&[("PMI_SIZE", "4"), ("PMI_RANK", "3")]);
        assert!(matches!(launch, Launch::Launched { process: 3, processes: 4, .. }));
    }
}
