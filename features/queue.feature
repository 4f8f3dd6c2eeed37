Feature: The queue of the queen

  Scenario: Whoever waits sees the place in the queue, how it gets better, and about how long it takes
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I run `rbee-keeper infer --prompt "hello" --max-tokens 3`
    Then the exit code is 0
    When these clients post tasks:
      | client    | task   |
      | 127.0.1.1 | first  |
      | 127.0.1.2 | second |
    And I start `rbee-keeper infer --prompt "hello"`
    Then stderr comes to show "waiting: place 2 in the queue, (about [\d.]+|less than 1) s \(the only slot of the worker is in use\)"
    And the tasks are served in the order first,second
    And stderr comes to show "waiting: place 1 in the queue, (about|less than)"
    And stdout comes to show "one two three"
    When the workers go on
    Then the exit code is 0
    And stdout shows "twenty"

  Scenario: A full queue says so, and when to come back
    Given the queue takes 2 tasks
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When these clients post tasks:
      | client    | task |
      | 127.0.1.1 | a    |
      | 127.0.1.1 | b    |
    And the client 127.0.1.1 posts the task c that is refused
    Then the refusal is 503 QUEUE_FULL that names the client as full
    When these clients post tasks:
      | client    | task |
      | 127.0.1.2 | d    |
    And the client 127.0.1.3 posts the task e that is refused
    Then the refusal is 503 QUEUE_FULL that names the queue as full
    When I run `rbee-keeper infer --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "QUEUE_FULL"
    And stderr shows "the queue is full: 2 tasks wait already"
    And stderr shows "try again in 5 s"
    When the client gives up the task b
    And these clients post tasks:
      | client    | task |
      | 127.0.1.3 | e    |
    And the tasks are served in the order a,d,e

  Scenario: A task that cannot begin before its deadline is refused at once
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"trickleMs": 100}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I run `rbee-keeper infer --prompt "hello"`
    Then the exit code is 0
    When these clients post tasks:
      | client    | task |
      | 127.0.1.1 | a    |
      | 127.0.1.2 | b    |
    And I post this task for JSON:
      """
      {"prompt": "Hello", "timeout_seconds": 0.9}
      """
    Then the answer is 408 with the code DEADLINE_UNREACHABLE
    And the refusal names the wait and the time that is left
    And all tasks end with "end"

  Scenario: Clients take turns, and interactive tasks come before batch tasks
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When these clients post tasks:
      | client    | task | priority    |
      | 127.0.1.1 | a1   | interactive |
      | 127.0.1.1 | a2   | interactive |
      | 127.0.1.1 | a3   | interactive |
      | 127.0.1.1 | a4   | interactive |
      | 127.0.1.2 | x1   | batch       |
      | 127.0.1.3 | b1   | interactive |
      | 127.0.1.3 | b2   | interactive |
    Then the client of a4 was told the places 3
    And the client of x1 was told the places 4
    And the client of b1 was told the places 1
    And the queen lists the task b2 as queued at place 3
    And the tasks are served in the order a1,b1,a2,b2,a3,a4,x1
    And the client of a4 was told the places 3,2,1
    And the client of x1 was told the places 4,3,2,1
    And the client of b2 was told the places 3,2,1

  Scenario: A batch task that has waited long is served like an interactive one
    Given the time limit batch_ageing is 1ms
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When these clients post tasks:
      | client    | task | priority    |
      | 127.0.1.1 | a    | interactive |
      | 127.0.1.2 | x    | batch       |
      | 127.0.1.3 | b    | interactive |
    Then the tasks are served in the order a,x,b

  @L077
  Scenario: Ten clients share three idle workers
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"trickleMs": 20}
      """
    And an idle worker for "builtin:honeycomb" with 2 slots
    And an idle worker for "builtin:honeycomb" with 2 slots
    And an idle worker for "builtin:honeycomb" with 2 slots
    When 10 clients post a task each at once
    Then all tasks end with "end"
    And no task was sent to a worker that was busy
    And each of the 3 workers served at least 2 of the tasks

  @L084
  Scenario: Two want the last of four slots at the same time
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 4 slots
    When these clients post tasks:
      | client    | task |
      | 127.0.1.1 | a    |
      | 127.0.1.2 | b    |
      | 127.0.1.3 | c    |
    And two others ask the worker for a job at the same moment
    Then one of the two is accepted, the other answered 503 with all 4 slots busy
    And the worker has 0 of 4 slots free
    When all jobs that stand still go on
    Then all tasks end with "end"
    And the worker has 4 of 4 slots free

  @L076
  Scenario: Tasks spread over the hives of two machines
    Given a node "attic" over SSH
    And a queen runs
    And an idle worker for "builtin:honeycomb" on attic
    And an idle worker for "builtin:honeycomb" on localhost
    When 8 clients post a task each at once
    Then all tasks end with "end"
    And no task was sent to a worker that was busy
    And each of the 2 workers served at least 2 of the tasks
