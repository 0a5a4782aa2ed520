"""The works that programs are compared at: each module has `contests(peers)`, which holds its contests one by one."""
