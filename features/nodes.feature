Feature: Machines become nodes

  @S01
  Scenario: A machine that can be reached is registered, with everything that was said about it
    Given a machine over SSH
    When I run `rbee-keeper setup add-node --name workstation <its address> --git-repo https://git.example.com/rbee.git --git-branch trunk --install-path ~/bees --backends cuda,cpu --devices cuda=2,cpu=1`
    Then the exit code is 0
    And stdout shows "[queen-rbee] checking SSH access to <its host>"
    And stdout shows "node 'workstation' is saved"
    And stdout shows "<its fingerprint>"
    And the registry's row of "workstation" has:
      """
      {
        "ssh_host": "<its host>",
        "ssh_port": <its SSH port>,
        "ssh_user": "<its user>",
        "ssh_key_path": "<home>/.ssh/id_ed25519",
        "git_repo_url": "https://git.example.com/rbee.git",
        "git_branch": "trunk",
        "install_path": "<its home>/bees",
        "status": "reachable",
        "last_error": null,
        "backends": "[\"cuda\",\"cpu\"]",
        "devices": "{\"cuda\":2,\"cpu\":1}",
        "hive_port": 9200
      }
      """
    And the last contact with "workstation" was just now
    And the machine was asked to run a command
    And no process is left

  @S01
  Scenario: What is left out has its defaults
    Given SSH connections are simulated
    And a queen runs
    And what I ask the queen is noted on its way
    When I run `rbee-keeper setup add-node --name workstation --ssh-host workstation.home.arpa --ssh-user me`
    Then the exit code is 0
    And the queen was asked for POST /v2/registry/beehives/add
    When I run `rbee-keeper setup list-nodes --json`
    Then stdout as JSON has:
      """
      {"nodes": [{"node_name": "workstation", "ssh_port": 22, "git_branch": "main", "hive_port": 9200, "status": "reachable"}]}
      """

  @S01
  Scenario: A host of the user's ssh_config needs no more than its name
    Given a machine over SSH
    And an ssh_config that says:
      """
      Host *.example.com
        User nobody-in-particular

      Host attic
        HostName <its host>
        Port <its SSH port>
        User <its user>
        IdentityFile ~/.ssh/id_ed25519
      """
    When I run `rbee-keeper setup add-node --name attic --ssh-host attic`
    Then the exit code is 0
    And the registry's row of "attic" has:
      """
      {"ssh_host": "attic", "install_path": "<its home>/rbee", "git_repo_url": null, "git_branch": "main", "status": "reachable"}
      """

  @S02 @L001
  Scenario: A machine that does not answer in time is not stored
    Given the time limit ssh_connect is 300ms
    And a machine that accepts connections and says nothing
    When I run `rbee-keeper setup add-node --name mute --ssh-host 127.0.0.1 --ssh-port <noted silent port> --ssh-user me`
    Then the exit code is 1
    And stdout shows "checking SSH access to 127.0.0.1"
    And stdout shows "attempt 2/3 after 200 ms: timed out"
    And stdout shows "attempt 3/3 after 400 ms: timed out"
    And stderr shows "3 attempts"
    And stderr shows "ping 127.0.0.1"
    And no node is registered
    And no process is left

  @L002
  Scenario: A key that the machine refuses is tried once, and nothing is stored
    Given a machine over SSH
    And the machine no longer knows my key
    When I run `rbee-keeper setup add-node --name attic <its address>`
    Then the exit code is 1
    And stdout does not show "attempt 2"
    And stderr shows "chmod 600"
    And stderr shows "agent|ssh-add"
    And no node is registered

  @L004
  Scenario: A key file that is not there is noticed before anything else happens
    When I run `rbee-keeper setup add-node --name attic --ssh-host 127.0.0.1 --ssh-user me --ssh-key ~/.ssh/nowhere`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "~/.ssh/nowhere"
    And no queen was ever started
    And no node is registered

  @L005
  Scenario: A name that is taken is refused, and what is registered stays as it is
    Given a machine over SSH
    And the machine is registered as "attic"
    When I run `rbee-keeper setup add-node --name attic <its address> --install-path /elsewhere`
    Then the exit code is 1
    And stderr shows "rbee-keeper setup update-node"
    And stderr shows "rbee-keeper setup remove-node"
    And the registry's row of "attic" has:
      """
      {"install_path": "<its home>/rbee"}
      """

  @S04
  Scenario: Several nodes are listed, each with what is known of it
    Given a machine over SSH
    And a queen runs
    When I run `rbee-keeper setup list-nodes`
    Then the exit code is 0
    And stdout shows "No nodes are registered"
    Given the machine is registered as "workstation"
    And the machine is registered as "attic"
    When I run `rbee-keeper setup list-nodes`
    Then the exit code is 0
    And stdout shows "Registered rbee-hive nodes:"
    And stdout shows the block of "workstation":
      """
      ^workstation \(<its host>\)$
      ^  Status: reachable$
      ^  Last connected: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$
      ^  Install path: <its home>/rbee$
      """
    And stdout shows the block of "attic":
      """
      ^attic \(<its host>\)$
      ^  Status: reachable$
      ^  Last connected: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$
      ^  Install path: <its home>/rbee$
      """

  @S05
  Scenario: A node is removed
    Given a machine over SSH
    And a queen runs
    And the machine is registered as "workstation"
    And the machine is registered as "attic"
    When I run `rbee-keeper setup remove-node --name workstation`
    Then the exit code is 0
    And stdout shows "node 'workstation' is removed"
    And the registered nodes are "attic"
    When I run `rbee-keeper setup remove-node --name workstation`
    Then the exit code is 1
    And stderr shows "workstation"
    When I run `rbee-keeper infer --node workstation --prompt "hello"`
    Then the exit code is 1
    And stderr shows "rbee-keeper setup add-node"

  Scenario: A node that moved is updated, with the checks of an addition
    Given a machine that accepts connections and says nothing
    And a machine over SSH
    And the machine is registered as "attic"
    And the time limit ssh_connect is 300ms
    When I run `rbee-keeper setup update-node --name attic --ssh-port <noted silent port>`
    Then the exit code is 1
    And the registry's row of "attic" has:
      """
      {"ssh_port": <its SSH port>}
      """
    Given the time limit ssh_connect is 10000ms
    When I run `rbee-keeper setup update-node --name attic --install-path ~/elsewhere`
    Then the exit code is 0
    And the registry's row of "attic" has:
      """
      {"ssh_port": <its SSH port>, "install_path": "<its home>/elsewhere"}
      """

  Scenario: A host key that was learned beforehand has to be the one that is shown
    Given a machine over SSH
    When I run `rbee-keeper setup add-node --name attic <its address> --host-key SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDbVBLsmvuu4KUn4Vo`
    Then the exit code is 1
    And stderr shows "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDbVBLsmvuu4KUn4Vo"
    And stderr shows "<its fingerprint>"
    And no node is registered
    When I run `rbee-keeper setup add-node --name attic <its address> --host-key <its fingerprint>`
    Then the exit code is 0

  Scenario Outline: Values that could be read as something else are refused before anything is contacted
    When I run `rbee-keeper setup add-node --name attic --ssh-host 127.0.0.1 <flags>`
    Then the exit code is 1 or 2
    And stdout is empty
    And stderr shows "<flag>"
    And no queen was ever started

    Examples:
      | flags                                  | flag           |
      | --ssh-host=-oProxyCommand=touch        | --ssh-host     |
      | --ssh-user "me; reboot"                | --ssh-user     |
      | --git-repo "ext::sh -c reboot"         | --git-repo     |
      | --git-branch=--upload-pack=reboot      | --git-branch   |
      | --install-path rbee                    | --install-path |
      | --hive-port 70000                      | --hive-port    |
      | --hive-url http://127.0.0.1:9200       | --hive-url     |
