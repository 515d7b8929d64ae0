#!/bin/sh
# The only program of the guest. It obeys one-line orders from the second serial port and answers there.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo

N=/sys/devices/system/node
M=/sys/devices/system/memory
C=/sys/bus/cxl/devices

# Files that do not exist or cannot be read are simply absent from the capture.
show() { grep -sH '' "$@"; }
# A link to a node that went away stays, and counts.
places() { for p in "$@"; do if [ -e "$p" ] || [ -L "$p" ]; then echo "$p"; fi; done; }

# The CXL bus: every object with its links, every attribute, and the tables that devices gave.
cxl_bus() {
	ls -l $C $C/*/ >cxl-links.txt
	set --
	for f in $C/*/* $C/mem*/ram/* $C/mem*/pmem/* $C/mem*/security/* $C/region*/access*/*; do
		case $f in
			*/CDAT | */uevent | */modalias) ;;
			*) [ -f "$f" ] && set -- "$@" "$f" ;;
		esac
	done
	grep -sH '' "$@" >cxl.txt
	for d in /sys/bus/pci/devices/*; do
		[ -f $d/current_link_speed ] || continue
		place=$(readlink -f $d)
		for f in current_link_speed current_link_width; do
			read -r value <$d/$f && printf '%s/%s\t%s\n' "$place" $f "$value"
		done
	done >pci-links.txt
}

device_tables() {
	for d in $C/endpoint*; do
		[ -e $d/CDAT ] && read -r serial <$d/uport/serial && cat $d/CDAT >tables/CDAT_serial_$serial
	done
	for d in $C/port*; do
		[ -e $d/CDAT ] && cat $d/CDAT >tables/CDAT_$(readlink $d/uport | sed 's/.*\///')
	done
	find tables -size 0 -exec rm {} \;
}

capture() {
	mkdir -p /cap/tables
	cd /cap || return
	{
		show $N/possible $N/online $N/has_* $N/node[0-9]*/cpulist $N/node[0-9]*/distance \
			$N/node[0-9]*/access*/initiators/*_latency $N/node[0-9]*/access*/initiators/*_bandwidth \
			$N/node[0-9]*/memory_side_cache/index*/*
		grep -sH MemTotal $N/node[0-9]*/meminfo /proc/meminfo
		show $M/block_size_bytes $M/auto_online_blocks /sys/module/memory_hotplug/parameters/*
		show $M/memory[0-9]*/state $M/memory[0-9]*/removable $M/memory[0-9]*/valid_zones
		show /sys/devices/virtual/memory_tiering/memory_tier*/nodelist
		show /sys/kernel/mm/mempolicy/weighted_interleave/* /sys/kernel/mm/numa/demotion_enabled
		for d in /sys/bus/dax/devices/*; do
			[ -e "$d" ] || continue
			show $d/align $d/memmap_on_memory $d/numa_node $d/resource $d/size $d/target_node
		done
		show /proc/cmdline /proc/sys/kernel/osrelease /sys/firmware/memmap/*/*
		show /proc/iomem
	} >sys.txt
	{
		places $N/node[0-9]*/memory[0-9]* $N/node[0-9]*/access*/initiators/node* $N/node[0-9]*/access*/targets/node*
		places $M/memory[0-9]* $M/memory[0-9]*/node*
		for d in /sys/bus/dax/devices/*; do
			[ -e "$d" ] || continue
			echo "$d -> $(readlink -f $d)"
			[ -e $d/driver ] && echo "$d/driver -> $(readlink $d/driver)"
		done
	} >places.txt
	if [ -d $C/root0 ]; then cxl_bus; fi
	cat /proc/zoneinfo >zoneinfo.txt
	cat /proc/iomem >iomem.txt
	dmesg >dmesg.txt
	if [ "$1" = first ]; then
		ls /sys/firmware/acpi/tables >tables.txt
		for t in /sys/firmware/acpi/tables/[A-Z]*; do
			case $t in */DSDT* | */SSDT* | */FACS) ;; *) cat $t >tables/${t##*/} ;; esac
		done
		if [ -d $C/root0 ]; then device_tables; fi
	fi
	cd /
	tar -cf /cap.tar -C /cap .
	rm -rf /cap
	echo "capture $(wc -c </cap.tar)" >&3
	cat /cap.tar >&3
	rm /cap.tar
}

# The error of a write as the shell says it. Nothing to write is an empty line, or there would be no write.
write_to() {
	if [ ! -e "$1" ]; then
		echo "result No such file or directory" >&3
		return
	fi
	if [ -n "$2" ]; then
		error=$({ echo -n "$2" >"$1"; } 2>&1)
	else
		error=$({ echo >"$1"; } 2>&1)
	fi
	echo "result ${error##*: }" >&3
}

# Words of device memory.
peek() {
	found=
	for a in "$@"; do found="$found $(devmem $a 32)"; done
	echo "result $found" >&3
}
poke() {
	for w in "$@"; do devmem ${w%%=*} 32 ${w#*=}; done
	echo "result " >&3
}

load() {
	for m in "$@"; do last=$m; done
	if [ -e /sys/module/$last ]; then
		echo "result File exists" >&3
		return
	fi
	all=
	for m in "$@"; do
		[ -e /sys/module/$m ] && continue
		error=$(insmod /modules/$m.ko 2>&1) || all=${error##*: }
	done
	echo "result $all" >&3
}

# Until the log, the states of memory blocks and the devices have been the same for a while.
quiet() {
	before= same=0 turns=0
	while [ $same -lt 3 ] && [ $turns -lt 40 ]; do
		sleep 0.3
		now="$(dmesg | wc -l) $(echo $C/* /sys/bus/dax/devices/*) $(grep -s . $M/memory*/state)"
		if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
		before=$now turns=$((turns + 1))
	done
	echo "result " >&3
}

echo ready >&3
while read -r order first second <&3; do
	case $order in
		load) load $first $second ;;
		sleep)
			sleep $first
			echo "result " >&3
			;;
		quiet) quiet ;;
		write) write_to "$first" "$second" ;;
		read)
			line=
			read -r line <"$first"
			echo "result $line" >&3
			;;
		peek) peek $first $second ;;
		poke) poke $first $second ;;
		file)
			echo "capture $(wc -c <"$first")" >&3
			cat "$first" >&3
			;;
		driver) echo "result $(readlink "$first" | sed 's/.*\///')" >&3 ;;
		capture) capture $first ;;
		leave) break ;;
	esac
done
printf '\000' | dd of=/dev/port bs=1 seek=1281 2>/dev/null
poweroff -f
