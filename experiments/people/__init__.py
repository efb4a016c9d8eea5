"""What people see: metrics beside their answers, the metric ``seen``, attacks made for people."""
