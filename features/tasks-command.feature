Feature: Tasks, seen and kept by the command line

  Scenario: Without a queen there are no tasks, and none is started
    When I run `rbee-keeper tasks list`
    Then the exit code is 0
    And stdout shows "No tasks"
    And no queen is running
    When I run `rbee-keeper tasks show --id job-nobody`
    Then the exit code is 1
    And stderr shows "QUEEN_UNREACHABLE"
    And no queen is running

  Scenario: A task that runs is listed, shown and cancelled
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    When I run `rbee-keeper tasks list`
    Then the exit code is 0
    And stdout is "No tasks."
    When I start `rbee-keeper infer --prompt "hello"` and leave it
    And the left command's stdout comes to show "one two three"
    And the only task is noted
    And I run `rbee-keeper tasks list`
    Then the exit code is 0
    And stdout shows "generating"
    And stdout shows "builtin:honeycomb"
    When I run `rbee-keeper tasks list --state queued`
    Then stdout is "No tasks that are queued."
    When I run `rbee-keeper tasks show --id <noted task>`
    Then the exit code is 0
    And stdout shows "State: generating"
    And stdout shows "Node: localhost"
    And stdout shows "one two three"
    When I run `rbee-keeper tasks cancel --id <noted task>`
    Then the exit code is 0
    And stdout shows "<noted task> is cancelled"
    And the left command ends with the exit code 1
    And the left command's stderr shows "was cancelled on request"
    And the worker has all its slots free and is idle
    When I run `rbee-keeper tasks cancel --id <noted task>`
    Then the exit code is 0
    And stdout shows "was over already (cancelled)"

  Scenario: A task that nobody knows
    Given a queen and a hive run
    When I run `rbee-keeper tasks show --id job-nobody`
    Then the exit code is 1
    And stderr shows "job-nobody"
    And stderr shows "rbee-keeper tasks list"
    When I run `rbee-keeper tasks cancel --id job-nobody --json`
    Then the exit code is 1
    And stdout shows "NOT_FOUND"

  Scenario: A task waits in the queue, is listed with its place, and leaves it when cancelled
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I start `rbee-keeper infer --prompt "hello"` and leave it
    And the left command has written to stdout
    And I start `rbee-keeper infer --prompt "me too" --priority batch`
    Then stderr comes to show "waiting: place 1 in the queue"
    Given the only task that is queued is noted
    And it is left running
    When I run `rbee-keeper tasks list --state queued`
    Then stdout shows "queued (1)"
    When I run `rbee-keeper tasks show --id <noted task>`
    Then stdout shows "State: queued, place 1"
    And stdout shows "Priority: batch"
    When I run `rbee-keeper tasks cancel --id <noted task>`
    Then the exit code is 0
    And the left command ends with the exit code 1

  Scenario: A task that is kept outlives the command that sent it
    Given a queen and a hive run
    When I start `rbee-keeper infer --prompt "write a short story" --temperature 0 --on-disconnect keep`
    And it has written to stdout
    And I kill it
    And the only task is noted
    And I run `rbee-keeper tasks show --id <noted task> --follow`
    Then the exit code is 0
    And stdout is the greedy story, up to float noise
    When I run `rbee-keeper tasks show --id <noted task>`
    Then stdout shows "State: ended"

  Scenario: A command that is told to end leaves a task behind that is to be kept, and says how to find it
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    When I start `rbee-keeper infer --prompt "hello" --on-disconnect keep`
    Then stdout comes to show "one two three"
    When I tell it to end
    Then the exit code is 130
    And stderr matches /The task goes on: rbee-keeper tasks show --id job-\S+ --follow/
    And stderr does not show "Canceled"
    Given the only task is noted
    When I start `rbee-keeper tasks show --id <noted task> --follow`
    Then stdout comes to show "one two three"
    When the workers go on
    Then the exit code is 0
    And stdout shows "twenty"

  Scenario: An operator's queen is killed in the middle of an answer and started anew
    Given a queen and a hive run
    When I start `rbee-keeper infer --prompt "write a short story" --temperature 0` and leave it
    And the left command has written to stdout
    And the queen is killed and started anew
    Then the left command ends with the exit code 0
    And the left command's stdout is the greedy story, up to float noise
    And the only task was taken over by a queen that was started anew

  Scenario: The queen that a command has started is killed in the middle of its answer
    Given the time limit owner_lost is 8000ms
    When I start `rbee-keeper infer --prompt "write a short story" --temperature 0`
    And it has written to stdout
    And the queen that it started is killed
    Then the exit code is 0
    And stdout is the greedy story, up to float noise
    And no queen is running
    And no process is left within 20 s
