"""The card that is measured, in words."""

import subprocess


def description(torch):
    """Card, memory, driver, clocks as they are now, power limit."""
    fields = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    try:
        line = subprocess.run(["nvidia-smi", "-i", "0", f"--query-gpu={fields}", "--format=csv,noheader"],
                              capture_output=True, text=True, check=True).stdout.strip()
        driver, sm, max_sm, memory_clock, power = line.split(", ")
        state = f"driver {driver}; SM {sm} of {max_sm}; memory {memory_clock}; limit {power}"
    except (OSError, subprocess.CalledProcessError, ValueError):
        state = "driver and clocks unknown"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}; {properties.total_memory / 2**30:.0f} GiB; {state}"
