Feature: Many nodes are kept in view at once

  Scenario: One of twenty hives stands still and delays nobody
    Given a queen runs
    And 20 nodes, each with a hive that has a worker
    Then the queen lists a worker of every node within 20 s
    When the last node's hive stands still
    Then every list of workers comes within 500 ms, for 2 s
    And the queen sees the hive of "<noted last node>" as unknown within 10 s
    And the queen sees all nodes but the last as reachable
    When the last node's hive moves again
    Then the queen sees the hive of "<noted last node>" as running within 15 s
    And the queen lists a worker of every node within 15 s
    And the queen still runs
