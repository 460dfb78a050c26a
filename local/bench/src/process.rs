//! Asks the kernel for the CPU time and memory that a process has used.

use std::time::Duration;

use local::CommandError;

/// Returns the CPU time that a process has used so far.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
pub(crate) fn processor_time(pid: u32) -> Result<Duration, CommandError> {
    /// The length of a clock tick. `USER_HZ`, the number of ticks per second, is 100 on every Linux.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(CommandError::Data)?;
    // The fields follow the program's name, which may contain spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u32>().ok()).unwrap_or_default();
    Ok(TICK * (ticks(11) + ticks(12)))
}

/// Returns a process's peak memory, in bytes.
/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
pub(crate) fn peak_bytes(pid: u32) -> Result<u64, CommandError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(CommandError::Data)?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(peak.unwrap_or_default() * 1_024)
}
