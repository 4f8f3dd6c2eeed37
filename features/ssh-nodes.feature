Feature: A machine that one can SSH into does the work

  @S34 @L006 @L007 @L009 @L092
  Scenario: Everything that is needed is started there, step by step, and ends with the queen
    Given a node "attic" over SSH
    And a queen runs
    When I post this task:
      """
      {"node": "attic", "prompt": "write a short story", "temperature": 0}
      """
    Then the stream ends with "end"
    And the text of the stream is the greedy story
    And the tokens of the stream are numbered from 0 without a gap
    And the tokens of the stream did not come all at once
    And the narration "ssh_preflight" mentions "connect"
    And the narration "ssh_preflight" mentions "key"
    And the narration "ssh_preflight" mentions "echo"
    And the narration "ssh_preflight" mentions "round trip"
    And the narration "ssh_preflight" mentions " ms"
    And the narration "ssh_preflight" mentions "program"
    And the stream narrates "ssh_preflight" before "hive_start"
    And the stream narrates "hive_start" before "hive_preflight"
    And the stream narrates "hive_preflight" before "worker_spawn"
    And the narration "hive_preflight" mentions "version 0.1.0"
    And a hive and a worker run on the machine
    And hive and worker of the machine listen on the loopback address only
    And the key of the worker is in no log and in no process list
    When I run `rbee-keeper workers list`
    Then the exit code is 0
    And stdout shows "attic"
    When I run `rbee-keeper workers health --node attic`
    Then the exit code is 0
    And stdout shows "ready"
    When I run `rbee-keeper logs --node attic --lines 20`
    Then the exit code is 0
    And stdout is not empty
    When the queen gets SIGTERM
    Then nothing runs on the machine after at most 1 s

  @S08
  Scenario: A warm worker over SSH is used at once
    Given a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper infer --node attic --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    Given the workers of the hive are noted
    When I run `rbee-keeper infer --node attic --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And it took less than 5 s
    And the workers of the hive are the noted ones
    And stderr does not show "preflight|starting a worker|starting one|looking at|checking"

  @S40
  Scenario: Ctrl+C while the answer comes over SSH
    Given a node "attic" over SSH
    And a made model "endless.gguf" that never ends
    And a queen runs
    When I start `rbee-keeper infer --node attic --model file://<its home>/.local/share/rbee/models/endless.gguf --raw --prompt "go" --temperature 0`
    And it has written to stdout
    And I press Ctrl+C
    Then the exit code is 130
    And it ended within 5 s of Ctrl+C
    And stdout ends with a line break
    And stderr shows "Canceled"
    And the worker has all its slots free and is idle
    And the log of the worker shows "cancel"

  @S51
  Scenario: With nothing running, everything is started on both machines and everything ends
    Given a node "attic" over SSH
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And no process is left

  @S52
  Scenario: A hive that an operator runs on the machine is used and stays
    Given a node "attic" over SSH
    And an operator runs a hive on the machine
    And a queen runs
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And no further daemon was started
    When I run `rbee-keeper hive stop --node attic`
    Then the hive still runs
    When the queen gets SIGTERM
    Then the hive still runs
    And the hive lists 1 worker with:
      """
      {"state": "idle"}
      """

  Scenario: The hive of a node is started, looked at, restarted and stopped by hand
    Given a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper hive status`
    Then the exit code is 0
    And stdout shows "localhost"
    And stdout shows "attic"
    When I run `rbee-keeper hive start --node attic`
    Then the exit code is 0
    And a hive runs on the machine
    When I run `rbee-keeper hive status --node attic`
    Then stdout shows "running"
    And stdout shows "0.1.0"
    When I run `rbee-keeper hive restart --node attic`
    Then the exit code is 0
    And a hive runs on the machine
    When I run `rbee-keeper hive stop --node attic`
    Then the exit code is 0
    And nothing runs on the machine after at most 1 s
    When I run `rbee-keeper hive status --node attic`
    Then stdout shows "stopped"
    And the queen still runs

  @L003
  Scenario: A machine without rbee is named, with the command that installs it
    Given a machine over SSH
    And the machine is registered as "attic"
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "rbee-keeper setup install --node attic"
    And no process is left

  @S57
  Scenario: The program that the configuration names is run in place of the installed one
    Given a machine over SSH
    And the machine is registered as "attic"
    And a configuration file that says:
      """
      [remote]
      binary_path = "<project>/apps/rbee-hive/bin/rbee-hive.js"
      """
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And no process is left

  @S36
  Scenario: A machine that went away: every attempt is shown, and what to check
    Given a node "attic" over SSH
    And a queen runs
    When the machine's SSH server is stopped
    And I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attempt 2/3 after 200 ms"
    And stderr shows "attempt 3/3 after 400 ms"
    And stderr shows "<its host>"
    And stderr shows "<its SSH port>"
    And stderr shows "10 s|10000|10,000"
    And stderr shows "ping <its host>"
    And the queen sees "attic" as unreachable within 2 s

  Scenario: A machine that shows another host key is not spoken to until the user says so
    Given a node "attic" over SSH
    And a queen runs
    When the machine gets another host key
    And I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "<noted old fingerprint>"
    And stderr shows "<its fingerprint>"
    And stderr does not show "attempt 2"
    And stderr shows "rbee-keeper setup update-node"
    And nothing runs on the machine after at most 0 s
    When I run `rbee-keeper setup update-node --name attic --host-key <its fingerprint>`
    Then the exit code is 0
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story

  Scenario: A key that is no longer let in is told as that
    Given a node "attic" over SSH
    And the machine no longer knows my key
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "chmod 600"
    And stderr does not show "attempt 2"
    And no process is left

  Scenario: A machine that forwards nothing is told as that, and no hive is left on it
    Given a node "attic" over SSH
    And the machine refuses to forward connections
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "AllowTcpForwarding"
    And no process is left

  Scenario: A connection that is cut in mid-stream is noticed, and the next task makes a new one
    Given a node "attic" over SSH whose workers follow this script:
      """
      {"trickleMs": 150}
      """
    And a queen runs
    When I start `rbee-keeper infer --node attic --prompt "hello"`
    And it has written to stdout
    And the connection to the machine is cut
    Then the exit code is 1
    And it ended within 5 s of the cut
    And stdout is not empty
    And stderr shows "rbee-partial-"
    And the worker has all its slots free and is idle
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 0
    And the hive lists 1 worker with:
      """
      {"state": "idle"}
      """

  @L078
  Scenario: A connection on which nothing moves any more is found dead within 5 s, and stands again without a restart
    Given a node "attic" over SSH whose workers follow this script:
      """
      {"trickleMs": 1000}
      """
    And the time limit ssh_connect is 1500ms
    And a queen runs
    When I start `rbee-keeper infer --node attic --prompt "hello"`
    And it has written to stdout
    And the machine's SSH server stands still
    Then the exit code is 1
    And it ended within 6 s of the cut
    And stderr shows "rbee-partial-"
    And the queen sees "attic" as unreachable within 5 s
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attic|<its host>"
    When the machine's SSH server moves again
    Then the queen sees "attic" as reachable within 10 s
    And the queen sees the hive of "attic" as running within 10 s
    And the queen still runs

  Scenario: A queen that is killed leaves a hive, which ends when nobody comes back for it
    Given the time limit owner_lost is 1500ms
    And a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper hive start --node attic`
    Then the exit code is 0
    And a hive runs on the machine
    When the queen gets SIGKILL
    Then nothing runs on the machine after at most 10 s

  @L072
  Scenario: A queen that comes back finds its nodes, their hives and workers, and still owns what it started
    Given a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    Given the workers of the hive are noted
    When the queen gets SIGKILL
    Given a queen runs
    Then the queen sees the hive of "attic" as running within 5 s
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And the workers of the hive are the noted ones
    And stderr does not show "starting a worker"
    When the queen gets SIGTERM
    Then nothing runs on the machine after at most 1 s
